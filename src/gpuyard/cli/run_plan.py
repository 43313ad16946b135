"""What `gpuyard run` will do, decided before anything is ordered: a wrong path must cost nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gpuyard.cli.failures import CliError, ExitStatus

INTERPRETERS: Mapping[str, tuple[str, ...]] = {
    # -u: what a script prints is seen when it is printed, not when a buffer is full
    ".py": ("python", "-u"),
    ".sh": ("bash",),
}


@dataclass(frozen=True)
class Transfer:
    """A file or folder here, and its place in the instance: relative to the work directory, or absolute."""

    here: Path
    there: str


@dataclass(frozen=True)
class RunPlan:
    argv: tuple[str, ...]
    title: str
    uploads: tuple[Transfer, ...] = ()
    downloads: tuple[Transfer, ...] = ()
    requirements: str | None = None
    """Where the requirements file lies in the instance."""

    @property
    def preparation(self) -> tuple[str, ...] | None:
        if self.requirements is None:
            return None
        return ("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", self.requirements)


def make_plan(
    words: Sequence[str],
    *,
    is_command: bool,
    uploads: Sequence[str] = (),
    outs: Sequence[str] = (),
    requirements: str | None = None,
    cwd: Path,
) -> RunPlan:
    """Raises CliError for whatever is missing or cannot be written here.

    Paths below `cwd` keep their place, so that they mean the same in the instance; others arrive under their last name.
    """
    if not words:
        raise CliError("nothing to run", hint="gpuyard run SCRIPT.py [ARGS…], or gpuyard run -- COMMAND [ARGS…]")
    sent = [_upload(text, cwd) for text in uploads]
    if requirements is not None:
        sent.append(_upload_file(requirements, "--requirements", cwd))
    asked_for = sent[-1].there if requirements is not None else None
    fetched = tuple(_download(text, cwd) for text in outs)
    if is_command and not _is_script(cwd / words[0]):
        return RunPlan(tuple(words), words[0], _once(sent), fetched, asked_for)
    script = _upload_file(words[0], "SCRIPT", cwd)
    argv = (*_interpreter(script.here), script.there, *words[1:])
    return RunPlan(argv, script.here.name, _once([script, *sent]), fetched, asked_for)


def is_command_form(argv: Sequence[str], words: Sequence[str]) -> bool:
    """Whether all the words stood behind `--`: `gpuyard run --gpu X -- python -c …`, not `run train.py -- --epochs 5`."""
    return len(argv) > len(words) and argv[len(argv) - len(words) - 1] == "--" and bool(words)


def place_of(path: Path, cwd: Path) -> str:
    """Where a path of this machine lies in the instance."""
    full = Path(os.path.normpath(cwd / path))
    base = Path(os.path.normpath(cwd))
    return full.relative_to(base).as_posix() if full.is_relative_to(base) else full.name


def _interpreter(script: Path) -> tuple[str, ...]:
    found = INTERPRETERS.get(script.suffix.lower())
    if found is None:
        known = " or ".join(INTERPRETERS)
        raise CliError(
            f"{script.name} is no {known} script",
            hint=f"say how to run it: gpuyard run --upload {script} -- PROGRAM {script} …",
        )
    return found


def _is_script(path: Path) -> bool:
    return path.suffix.lower() in INTERPRETERS and path.is_file()


def _upload_file(text: str, option: str, cwd: Path) -> Transfer:
    path = cwd / text
    if path.is_dir():
        raise CliError(f"{option}: {text} is a folder", hint="name a file in it; --upload takes folders")
    return _existing(path, text, option, place_of(path, cwd))


def _upload(text: str, cwd: Path) -> Transfer:
    here, there = _split(text, cwd)
    return _existing(cwd / here, here, "--upload", there or place_of(cwd / here, cwd))


def _existing(path: Path, text: str, option: str, there: str) -> Transfer:
    if not path.exists():
        raise CliError(
            f"{option}: {text} is not there", status=ExitStatus.NOT_FOUND, hint=f"looked for it in {path.parent}"
        )
    if not os.access(path, os.R_OK):
        raise CliError(f"{option}: {text} may not be read", status=ExitStatus.NOT_FOUND, hint="check its permissions")
    return Transfer(path, there)


def _split(text: str, cwd: Path) -> tuple[str, str | None]:
    """`HERE:THERE`, unless a file is really called that."""
    here, colon, there = text.rpartition(":")
    if not colon or not here or not there or (cwd / text).exists():
        return text, None
    return here, there


def _download(text: str, cwd: Path) -> Transfer:
    there, colon, here = text.rpartition(":")
    if not (colon and there and here):
        there, here = text, ""
    inside = PurePosixPath(there)
    if ".." in inside.parts:
        raise CliError(
            f"--out: {there} climbs out of the work directory", hint="--out THERE:HERE puts it anywhere here"
        )
    local = cwd / (here or (inside.name if inside.is_absolute() else inside.as_posix()))
    _check_writable(local, text)
    return Transfer(local, there.rstrip("/") or "/")


def _check_writable(path: Path, text: str) -> None:
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    if nearest != path and not nearest.is_dir():
        raise CliError(f"--out: {nearest} is not a folder", status=ExitStatus.CANNOT_WRITE, hint="choose another place")
    if not os.access(nearest, os.W_OK):
        raise CliError(
            f"--out: {text} cannot be written to {nearest}",
            status=ExitStatus.CANNOT_WRITE,
            hint="--out THERE:HERE puts it elsewhere",
        )


def _once(transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    return tuple(dict.fromkeys(transfers))
