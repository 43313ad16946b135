"""Sessions as text: what is typed, what is shown, and how it ended."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE_SECONDS, PROGRAM, Seat

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@dataclass(frozen=True)
class Step:
    line: int
    words: list[str]
    status: int
    expected: str


def steps(text: str) -> Iterator[Step]:
    for found in re.finditer(r"^\$ gpuyard (.*?)(?: \[(\d+)\])?\n((?:(?!\$ ).*\n?)*)", text, re.MULTILINE):
        line = text[: found.start()].count("\n") + 1
        yield Step(line, shlex.split(found[1]), int(found[2] or 0), found[3].strip("\n"))


def pattern(expected: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, expected.split("<…>"))), re.DOTALL)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_session_goes_as_written(seat: Seat, path: Path) -> None:
    for step in steps(path.read_text("utf-8")):
        done = subprocess.run(
            [PROGRAM, *step.words],
            cwd=seat.cwd,
            env=seat.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

        where = f"{path.name}:{step.line}: gpuyard {shlex.join(step.words)}"
        assert pattern(step.expected).fullmatch(done.stdout.strip("\n")), f"{where}\n{done.stdout}"
        assert done.returncode == step.status, f"{where}\n{done.stdout}"
