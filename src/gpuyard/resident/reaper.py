"""Orphans that came back to the resident and have ended are reaped; children somebody waits for are left to them."""

from __future__ import annotations

import asyncio
import contextlib
import os

import psutil

from gpuyard.resident import child

_SWEEP_SECONDS = 2.0


async def sweep_for_ever() -> None:
    """Who starts a child asks for its end well within a sweep; what was already a zombie last time is nobody's."""
    before: set[int] = set()
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        zombies = _zombies() - child.own
        for pid in zombies & before:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        before = zombies - before


def _zombies() -> set[int]:
    found = set()
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found
