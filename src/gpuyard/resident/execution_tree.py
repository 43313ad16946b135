"""All the processes that belong to one thing that was started, and how they are told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

EXECUTION_MARK = "GPUYARD_EXECUTION_ID"
"""In the environment of every program of an execution, so that those which daemonised are still found."""

_KILL_ROUNDS = 20


def members(leader: int, mark: str | None = None) -> set[int]:
    """The living processes of an execution: of its session, descended from its leader, or carrying its mark."""
    family = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            marked = mark is not None and carries(process.pid, mark)
            if marked or process.pid == leader or os.getsid(process.pid) == leader:
                family.add(process.pid)
                family.update(child.pid for child in process.children(recursive=True))
    return family


def carries(pid: int, mark: str) -> bool:
    """Was this process started, at whatever distance, by the execution `mark`?"""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{EXECUTION_MARK}={mark}".encode() in environment.split(b"\0")


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Once to each; the oldest first, so that a shell does not go on to its next command when its child dies."""
    for pid in sorted(pids):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


async def end(find: Callable[[], set[int]], grace_seconds: float) -> None:
    """TERM to all `find` finds, KILL to what is left after the grace, until it finds none."""
    send(living(find()), signal.SIGTERM)
    deadline = asyncio.get_running_loop().time() + grace_seconds
    # Processes of others: there is nothing to await, they have to be looked for.
    while living(find()) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    for _ in range(_KILL_ROUNDS):
        left = living(find())
        if not left:
            return
        send(left, signal.SIGKILL)
        await asyncio.sleep(0.02)


def living(pids: set[int]) -> set[int]:
    """Those of `pids` that are more than an entry waiting to be reaped."""
    alive = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                alive.add(pid)
    return alive
