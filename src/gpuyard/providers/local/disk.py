"""Where instances live on this machine's disk, written so that a crash on any line leaves a state we can read.

    data_dir/
      machines/<slot>/       one machine: workspace/ home/coder/ tmp/ state/ resident.log process.json instance.json
      instances/<id>         a link to the machine of that instance; making it is the moment an order is accepted
      trash/<slot>-<random>/ being erased
      run/<slot>/            its socket (elsewhere when the path would be too long for one)

A machine keeps its directory for life, whether it waits in the warm pool or serves an instance: its processes know
themselves by that path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from gpuyard.domain.errors import ProviderUnavailable
from gpuyard.domain.ids import InstanceId
from gpuyard.ports.provider import Order
from gpuyard.providers.local.processes import Identity
from gpuyard.resident.wire import GrantedGpu

T = TypeVar("T")

_SOCKET_PATH_MAX = 107
_LOG_TAIL_BYTES = 4096


class Wanted(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Record:
    """`instance.json`: what a machine is for. Its cards are taken as long as they stand here."""

    order: Order
    gpus: tuple[GrantedGpu, ...]
    wanted: Wanted = Wanted.RUNNING
    settled: bool = False
    """Of a stopped one: everything has ended and its cards are given back."""


@dataclass(frozen=True, slots=True)
class Running:
    """`process.json`: what was started for a machine, and whether it got as far as serving its instance."""

    watched: Identity
    """Ends when the resident ends: the resident, or the sandbox's outer process."""
    init: Identity | None
    """Process 1 of the sandbox: with it everything inside ends. None without a sandbox."""
    assigned: bool


_RECORD = TypeAdapter(Record)
_RUNNING = TypeAdapter(Running)


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of one machine."""

    path: Path
    run: Path

    @property
    def slot(self) -> str:
        return self.path.name

    @property
    def workspace(self) -> Path:
        return self.path / "workspace"

    @property
    def home(self) -> Path:
        return self.path / "home" / "coder"

    @property
    def tmp(self) -> Path:
        return self.path / "tmp"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def log(self) -> Path:
        return self.path / "resident.log"

    @property
    def sandbox_status(self) -> Path:
        return self.path / "sandbox.json"

    @property
    def socket(self) -> Path:
        return self.run / "s"

    def prepare(self) -> None:
        """Make what a resident needs to start; what is there stays."""
        for directory in (self.path, self.run, self.workspace, self.home, self.tmp, self.state):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)

    def write_record(self, record: Record) -> None:
        _write(self.path / "instance.json", _RECORD.dump_json(record))

    def read_record(self) -> Record | None:
        return _read(self.path / "instance.json", _RECORD.validate_json)

    def write_running(self, running: Running) -> None:
        _write(self.path / "process.json", _RUNNING.dump_json(running))

    def read_running(self) -> Running | None:
        return _read(self.path / "process.json", _RUNNING.validate_json)

    def forget_running(self) -> None:
        (self.path / "process.json").unlink(missing_ok=True)
        _sync(self.path)

    def log_tail(self) -> str:
        """The last thing the resident said, for a person."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES, 0))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-5:])

    def clear_tmp(self) -> None:
        erase(self.tmp)


class Disk:
    """All machines of one data directory. One process at a time may have it open."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir
        self._lock: int | None = None
        self._run = data_dir / "run"

    def open(self) -> None:
        """Raises ProviderUnavailable when another process has this directory, OSError when it cannot be written."""
        for directory in ("machines", "instances", "trash"):
            (self.path / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise ProviderUnavailable(
                f"another process has the instances in {self.path}",
                hint="stop the other yard, or give this one its own",
            ) from error
        self._lock = lock
        self._run = _run_directory(self.path)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def place(self, slot: str) -> Place:
        return Place(self.path / "machines" / slot, self._run / slot)

    def admit(self, instance_id: InstanceId, place: Place, record: Record) -> None:
        """Make the machine at `place` the one of the instance. Once this returns it survives any crash."""
        place.path.mkdir(mode=0o700, exist_ok=True)
        place.write_record(record)
        _sync(place.path.parent)
        with suppress(FileExistsError):
            self._link(instance_id).symlink_to(Path("..") / "machines" / place.slot)
        _sync(self.path / "instances")

    def admitted(self) -> Iterator[tuple[InstanceId, Place]]:
        """Every instance and its machine. A link whose machine is gone was on its way out: it is dropped."""
        for link in sorted((self.path / "instances").iterdir()):
            if link.is_symlink() and link.exists():
                yield InstanceId(link.name), self.place(link.readlink().name)
            elif link.is_symlink():
                link.unlink(missing_ok=True)

    def astray(self) -> list[Place]:
        """Machines whose link is there and whose directory is not: somebody removed it by hand, and processes of it
        may be left. Ask before `admitted`, which drops such links."""
        links = (self.path / "instances").iterdir()
        return [self.place(link.readlink().name) for link in links if link.is_symlink() and not link.exists()]

    def unlinked(self) -> list[Place]:
        """Machines that serve no instance: what an earlier life left in its warm pool, or died while making."""
        linked = {place.slot for _, place in self.admitted()}
        slots = (entry.name for entry in (self.path / "machines").iterdir())
        return [self.place(slot) for slot in slots if slot not in linked]

    def retire(self, place: Place, instance_id: InstanceId | None = None) -> None:
        """Take a machine whose processes have ended out of sight; `empty_trash` erases it."""
        with suppress(FileNotFoundError):
            place.path.rename(self.path / "trash" / f"{place.slot}-{secrets.token_hex(4)}")
        if instance_id is not None:
            self._link(instance_id).unlink(missing_ok=True)
        erase(place.run)
        _sync(self.path / "machines")
        _sync(self.path / "instances")

    def empty_trash(self) -> None:
        for entry in list((self.path / "trash").iterdir()):
            erase(entry)

    def _link(self, instance_id: InstanceId) -> Path:
        if "/" in instance_id or instance_id.startswith("."):
            raise ValueError(f"not an instance id: {instance_id!r}")
        return self.path / "instances" / instance_id


def erase(path: Path) -> None:
    """Remove a directory with all that is in it, also what its owner made unreadable. Of what is gone: no effect."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except (OSError, RecursionError):  # locked by its owner, or nested deeper than Python can follow
        subprocess.run(["chmod", "-R", "u+rwx", str(path)], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", "--", str(path)], capture_output=True, check=False)


def _run_directory(data_dir: Path) -> Path:
    """A directory of ours alone in which a socket's path is short enough for the kernel."""
    longest = len("/0123456789ab/s")
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:10]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    short = f"gpuyard-{os.getuid()}-{digest}"
    candidates = [
        data_dir / "run",
        *([Path(runtime) / short] if runtime and Path(runtime).is_dir() else []),
        Path(tempfile.gettempdir()) / short,
        Path("/tmp") / short,  # noqa: S108  # its owner and mode are checked below
    ]
    for candidate in candidates:
        if len(os.fsencode(candidate)) + longest <= _SOCKET_PATH_MAX and _is_ours(candidate):
            return candidate
    raise ProviderUnavailable(
        f"no directory for the sockets of instances: {candidates[-1]} belongs to somebody else",
        hint="use a shorter data directory",
    )


def _is_ours(directory: Path) -> bool:
    """Make it if it is not there. A directory that anybody else can enter or replace is refused."""
    try:
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        seen = directory.lstat()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
            return False
        directory.chmod(0o700)
    except OSError:
        return False
    return True


def _write(file: Path, data: bytes) -> None:
    """Replace a file at once or not at all, durably, readable by its owner alone: records hold secrets."""
    draft = file.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    _sync(file.parent)


def _read(file: Path, parse: Callable[[bytes], T]) -> T | None:
    """None for what is not there or makes no sense."""
    try:
        return parse(file.read_bytes())
    except (OSError, ValueError):
        return None


def _sync(directory: Path) -> None:
    """Make a rename, link or unlink in it durable."""
    with suppress(FileNotFoundError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
