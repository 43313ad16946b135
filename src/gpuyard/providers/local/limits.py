"""Keeps an instance to its share of CPU and memory, as far as this machine lets an ordinary user do so."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from gpuyard.providers.local import processes
from gpuyard.providers.local.processes import Identity

_PERIOD_US = 100_000
_OURS = "gpuyard-yard"


class Limits(Protocol):
    """Every method blocks shortly: run it in a thread. None raises: a limit that cannot be set is not worth an instance."""

    warnings: tuple[str, ...]
    """What is not enforced, for the owner."""

    def confine(self, slot: str, root: Identity, *, vcpus: int, ram_gb: int) -> None:
        """Hold a process, all its descendants, and those they will have."""

    def free(self, slot: str) -> None:
        """Its processes have ended. Twice does no harm."""


def find_limits(mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """Control groups where a part of their tree is ours to use, else the scheduler's choice of CPUs alone."""
    base = _delegated(mount, membership)
    return Cgroups(base) if base is not None else Affinity()


class Cgroups:
    """One control group (version 2) per instance, below the one this process was given."""

    warnings: tuple[str, ...] = ()

    def __init__(self, base: Path) -> None:
        self._base = base

    def confine(self, slot: str, root: Identity, *, vcpus: int, ram_gb: int) -> None:
        group = self._group(slot)
        with suppress(OSError):
            group.mkdir(exist_ok=True)
            (group / "cpu.max").write_text(f"{vcpus * _PERIOD_US} {_PERIOD_US}")
            (group / "memory.max").write_text(str(ram_gb * 1024**3))
        moved: set[Identity] = set()
        while new := [process for process in processes.tree(root) if process not in moved]:  # they may fork meanwhile
            for process in new:
                moved.add(process)
                with suppress(OSError):
                    (group / "cgroup.procs").write_text(str(process.pid))

    def free(self, slot: str) -> None:
        with suppress(OSError):
            self._group(slot).rmdir()

    def _group(self, slot: str) -> Path:
        return self._base / f"gpuyard-{slot}"


class Affinity:
    """CPUs of its own choice for each instance: the least used ones. Nothing here can hold memory."""

    warnings: tuple[str, ...] = (
        "the memory size of an instance is not enforced: no control group (v2) is delegated to this user",
    )

    def __init__(self) -> None:
        self._cpus = sorted(os.sched_getaffinity(0))
        self._used: dict[str, frozenset[int]] = {}

    def confine(self, slot: str, root: Identity, *, vcpus: int, ram_gb: int) -> None:
        if vcpus >= len(self._cpus):
            return
        load = [cpu for slot_, cpus in self._used.items() if slot_ != slot for cpu in cpus]
        chosen = frozenset(sorted(self._cpus, key=lambda cpu: (load.count(cpu), cpu))[:vcpus])
        self._used[slot] = chosen
        for process in processes.tree(root):
            with suppress(OSError):
                for thread in Path(f"/proc/{process.pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), chosen)

    def free(self, slot: str) -> None:
        self._used.pop(slot, None)


def _delegated(mount: Path, membership: Path) -> Path | None:
    """The control group we may make others in, with CPU and memory switched on for them; None where there is none."""
    try:
        path = next(line[3:] for line in membership.read_text().splitlines() if line.startswith("0::"))
        base = mount / path.strip().lstrip("/")
        if base.name == _OURS:  # an earlier yard, of which we are a child, moved itself there
            base = base.parent
        if not {"cpu", "memory"} <= set((base / "cgroup.controllers").read_text().split()):
            return None
        try:
            _switch_on(base)
        except OSError:  # a group with processes of its own cannot have limited children: step into one
            own = base / _OURS
            own.mkdir(exist_ok=True)
            (own / "cgroup.procs").write_text(str(os.getpid()))
            _switch_on(base)
    except (OSError, StopIteration):
        return None
    return base


def _switch_on(base: Path) -> None:
    (base / "cgroup.subtree_control").write_text("+cpu +memory")
