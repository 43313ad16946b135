"""How much processor and memory the programs of the instance use, from one look to the next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    name: str
    cpu_percent: float
    """Of one core."""
    memory: int
    """Bytes, without what it shares with others."""


@dataclass(frozen=True, slots=True)
class Used:
    """All programs together. The busiest come first."""

    cpu_percent: float = 0.0
    """Of one core: two busy cores are 200."""
    memory: int = 0
    processes: list[Process] = field(default_factory=list)


class ProcessTable:
    """Remembers what each process had used at the last look, which makes a share out of a sum."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, float], tuple[float, float]] = {}

    def measure(self, pids: Iterable[int]) -> Used:
        """Of a process not seen before, its whole life counts. What ends meanwhile is left out."""
        now = time.time()
        seen: dict[tuple[int, float], tuple[float, float]] = {}
        processes: list[Process] = []
        shared = 0
        for pid in pids:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    key = (pid, process.create_time())
                    times, memory, name = process.cpu_times(), process.memory_info(), process.name()
            except psutil.Error:
                continue
            seen[key] = (now, times.user + times.system)
            since, spent = self._before.get(key, (key[1], 0.0))
            percent = 100 * (seen[key][1] - spent) / max(now - since, 0.01)
            processes.append(Process(pid, name, max(0.0, percent), memory.rss - memory.shared))
            shared = max(shared, memory.shared)
        self._before = seen
        processes.sort(key=lambda one: (-one.cpu_percent, -one.memory))
        return Used(
            cpu_percent=sum(one.cpu_percent for one in processes),
            # pages that several programs share (libraries, forked workers' data) are there once, not once for each
            memory=sum(one.memory for one in processes) + shared,
            processes=processes,
        )
