"""The installed program against a real yard, each with a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpuyard import Client

PROGRAM = Path(sys.executable).with_name("gpuyard")
EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Seat:
    """A user: a home, a current directory, an environment in which nothing else points to a yard."""

    home: Path
    cwd: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
        return clean | {"GPUYARD_HOME": str(self.home), "COLUMNS": "100", "NO_COLOR": "1"} | self.extra

    def gpuyard(self, *words: str | Path, stdin: str = "", timeout: float = PATIENCE_SECONDS) -> Ran:
        done = subprocess.run(
            [PROGRAM, *map(str, words)],
            cwd=self.cwd,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def good(self, *words: str | Path, **options: Any) -> Ran:
        """The same where anything but success is a fault of the test's own setting."""
        ran = self.gpuyard(*words, **options)
        assert ran.status == 0, f"gpuyard {' '.join(map(str, words))}: {ran}"
        return ran

    def start(self, *words: str | Path) -> Started:
        log = self.cwd / f"started-{time.monotonic_ns()}.log"
        with log.open("wb") as both:
            process = subprocess.Popen(
                [PROGRAM, *map(str, words)],
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=both,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Started(process, log)

    def client(self) -> Client:
        """What the program under test would use: for looking at what it left, in a fraction of its time."""
        kept = json.loads((self.home / "credentials.json").read_text())
        return Client(kept["url"], kept["key"])

    def instances(self) -> list[str]:
        """The names of those that are not gone."""
        with self.client() as client:
            return [instance.name for instance in client.instances.list()]

    def delete_all(self) -> None:
        with self.client() as client:
            left = list(client.instances.list())
            for instance in left:
                instance.delete()
            for instance in left:
                instance.wait_until("deleted", timeout=PATIENCE_SECONDS)

    def script(self, name: str, text: str) -> str:
        (self.cwd / name).write_text(text)
        return name


@dataclass
class Started:
    process: subprocess.Popen[bytes]
    log: Path

    def says(self, words: str) -> None:
        """Wait until it has said that."""
        eventually(lambda: words in self.text or self.process.poll() is not None, lambda: f"{words!r} in {self.text}")
        assert words in self.text, self.text

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def press(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end: {self.text}") from None


def eventually(true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, otherwise()
        # a look, not a wait: the deadline is what decides
        select_nothing(0.02)


def select_nothing(seconds: float) -> None:
    import select

    select.select([], [], [], seconds)


def end_yard(seat: Seat) -> None:
    """Leave nothing behind: neither instances nor the server, whatever the test did."""
    try:
        seat.delete_all()
    finally:
        seat.gpuyard("down")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seat]:
    """A yard with one simulated RTX 3090 and two RTX 4090."""
    base = tmp_path_factory.mktemp("yard")
    seat = Seat(base / "home", base)
    seat.good("up", "--detach", "--port", "0", "--simulate", "nvidia-rtx-3090=1,nvidia-rtx-4090=2")
    try:
        yield seat
    finally:
        end_yard(seat)


@pytest.fixture
def seat(yard: Seat, tmp_path: Path) -> Iterator[Seat]:
    """The yard's owner in an empty directory. Finds no instances and leaves none."""
    seat = Seat(yard.home, tmp_path)
    yield seat
    seat.delete_all()


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Seat]:
    """Somebody with nothing set up yet."""
    (tmp_path / "work").mkdir()
    seat = Seat(tmp_path / "home", tmp_path / "work")
    yield seat
    if (seat.home / "data" / "server.json").exists():
        end_yard(seat)
    end_servers(seat)


def end_servers(seat: Seat) -> None:
    """End a server that was still starting, too: it has written down nowhere yet that it is there."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            ours = process.environ().get("GPUYARD_HOME") == str(seat.home)
            if ours and "gpuyard.server" in process.cmdline():
                process.terminate()
                process.wait(30)
