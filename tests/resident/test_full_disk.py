"""A full disk: output is left out, nothing hangs, and every execution still ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.resident.running import SOURCE

_PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from gpuyard.resident.journal import Journal, Reserve

place = Path(sys.argv[1])
reserve = Reserve(place / "reserve")
journal = Journal(place / "journal.ndjson", 1 << 40, reserve=reserve)
for _ in range(100):
    journal.output("stdout", b"x" * 60_000)
with open(place / "filler", "wb", buffering=0) as filler:
    try:
        while filler.write(b"x" * 512):
            pass
    except OSError:
        pass
journal.output("stdout", b"y" * 60_000)
journal.end(3, "")
sys.stdout.buffer.write(journal.path.read_bytes())
"""


def small_disk(place: Path, program: str) -> subprocess.CompletedProcess[bytes]:
    """Run `program` with `place` on a disk of 2 MiB of its own."""
    script = 'mount -t tmpfs -o size=2m gpuyard-test "$1" && shift && exec "$@"'
    argv = [sys.executable, "-c", program, str(place), str(SOURCE)]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(place), *argv],
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_an_execution_on_a_full_disk_still_ends(tmp_path: Path) -> None:
    ended = small_disk(tmp_path, _PROGRAM)
    if b"mount:" in ended.stderr or b"unshare:" in ended.stderr:
        pytest.skip("this machine does not let us have a small disk of our own")

    assert ended.returncode == 0, ended.stderr.decode()
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    kept = sum(len(record["d"]) for record in found if record["s"] == "stdout")
    assert [record["s"] for record in found[-2:]] == ["elided", "exit"]
    assert kept + found[-2]["bytes"] == 101 * 60_000
    assert found[-1]["code"] == 3
