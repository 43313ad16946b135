"""Write the generated pages of docs/, or, with --check, say which of them no longer tell the truth."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import docs_api
import docs_cli
import docs_errors
import docs_lifecycle
import docs_settings

DOCS = Path(__file__).parent.parent / "docs"

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": docs_settings.page,
    "errors.md": docs_errors.page,
    "cli.md": docs_cli.page,
    "lifecycle.md": docs_lifecycle.page,
    "api.md": docs_api.page,
}


def main(arguments: list[str]) -> int:
    checking = arguments == ["--check"]
    stale = [name for name, page in PAGES.items() if _differs(DOCS / name, page(), write=not checking)]
    if checking and stale:
        print(f"docs: {', '.join(stale)} no longer tell the truth; run 'make docs'", file=sys.stderr)
        return 1
    return 0


def _differs(file: Path, text: str, *, write: bool) -> bool:
    if file.exists() and file.read_text() == text:
        return False
    if write:
        file.write_text(text)
        print(f"docs/{file.name}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
