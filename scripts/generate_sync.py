"""Makes every client's `_sync` out of its `_async`: `python scripts/generate_sync.py [--check]`.

Only names change, token by token, so that the two halves can be read side by side. What cannot be said by renaming lives in
the `_io.py` beside them, once as `async_…` and once as `sync_…`.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "gpuyard"
CLIENTS = (PACKAGE / "sdk", PACKAGE / "vendors" / "novita")
NOTE = "# Made from `_async/` by scripts/generate_sync.py: change it there.\n"

NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
    "aread": "read",
    "aiter_raw": "iter_raw",
    "_async": "_sync",
    "asynccontextmanager": "contextmanager",
    "aclosing": "closing",
    "enter_async_context": "enter_context",
    "AbstractAsyncContextManager": "AbstractContextManager",
}
_DROPPED = frozenset({"async", "await"})
_CLASS = re.compile(r"\bAsync([A-Z]\w*)")
_FUNCTION = re.compile(r"\basync_(\w+)")
_OURS = "lint.isort.known-first-party=['gpuyard']"  # also what is not written yet
_KEYWORD = re.compile(r"\b(?:async|await) ")
_WORD = re.compile(r"[A-Za-z_]\w*")


def to_sync(source: str) -> str:
    """The same module without `async` and `await`, every name replaced."""
    lines = [*source.splitlines(keepends=True), ""]
    pieces: list[str] = []
    line, column = 1, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (start_line, start), (end_line, end) = token.start, token.end
        pieces.append(_between(lines, (line, column), (start_line, start)))
        line, column = end_line, end
        if token.type == tokenize.NAME and token.string in _DROPPED:
            column += 1  # and the blank behind it
        elif token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            pieces.append(_renamed(token.string))
        else:
            pieces.append(token.string)
    return "".join(pieces)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    return "".join((lines[start[0] - 1][start[1] :], *lines[start[0] : end[0] - 1], lines[end[0] - 1][: end[1]]))


def _renamed(text: str) -> str:
    """Also what strings and comments say, so that no docstring speaks of the other client."""
    text = _WORD.sub(lambda word: NAMES.get(word[0], word[0]), _KEYWORD.sub("", text))
    return _FUNCTION.sub(r"sync_\1", _CLASS.sub(r"\1", text))


def _formatted(path: Path, source: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    where = ["--stdin-filename", str(path), "-"]
    for command in (
        [
            "check",
            "--fix-only",
            "--unsafe-fixes",
            "--select",
            "I,F401,C416,UP028",
            "--quiet",
            "--config",
            _OURS,
            *where,
        ],
        ["format", "--quiet", *where],
    ):
        source = subprocess.run([*ruff, *command], input=source, text=True, capture_output=True, check=True).stdout
    return source


def stale_halves(client: Path) -> dict[Path, str | None]:
    """The files of `_sync` that are not what `_async` makes, with what they should say; None for those that should go."""
    made = {client / "_sync" / path.name: NOTE + to_sync(path.read_text()) for path in (client / "_async").glob("*.py")}
    wanted = {path: _formatted(path, source) for path, source in made.items()}
    stale: dict[Path, str | None] = {path: None for path in (client / "_sync").glob("*.py") if path not in wanted}
    return stale | {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}


def main() -> int:
    stale = {path: text for client in CLIENTS for path, text in stale_halves(client).items()}
    if "--check" in sys.argv[1:]:
        for path in sorted(stale):
            half = path.relative_to(PACKAGE).as_posix()
            sys.stderr.write(
                f"{half} is not what {half.replace('_sync', '_async')} makes: run scripts/generate_sync.py\n"
            )
        return 1 if stale else 0
    for path, text in stale.items():
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
