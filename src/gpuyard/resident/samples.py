"""What the instance uses right now: cards, processor, memory, disk, processes."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuyard.resident.cards import Cards
from gpuyard.resident.core import Resident
from gpuyard.resident.disk_usage import DiskUsage
from gpuyard.resident.paths import Places
from gpuyard.resident.usage import MB, Process, ProcessTable

_FRESH_SECONDS = 0.5
"""Who asks more often gets the same answer: a share of time needs some time to be a share of."""
_AT_WORK_PERCENT = 20.0
"""Of one core, or of a real card: with less, programs idle and JupyterLab keeps its connections open."""
_LISTED = 200
_DEFAULT_CORES = 2
_DEFAULT_RAM_GB = 4
_DEFAULT_DISK_GB = 20


def routes(resident: Resident) -> list[BaseRoute]:
    sampler = Sampler(resident)

    async def samples(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(sampler.sample))

    return [Route("/samples", samples, methods=["GET"])]


@dataclass(frozen=True, slots=True)
class _Limits:
    cores: int = _DEFAULT_CORES
    ram_gb: int = _DEFAULT_RAM_GB
    disk_gb: int = _DEFAULT_DISK_GB


class Sampler:
    """Measures on request, in a thread."""

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self._turn = threading.Lock()
        self._processes = ProcessTable()
        self._cards = Cards()
        places = Places.of(resident.instance.residence)
        self._disk = DiskUsage((places.workspace, places.home))
        self._last: dict[str, Any] | None = None

    def sample(self) -> dict[str, Any]:
        """The answer of `GET /samples`. Instants are seconds since 1970."""
        with self._turn:
            if self._last is None or time.time() - self._last["at"] >= _FRESH_SECONDS:
                self._last = self._measure()
            return {**self._last, "active_at": self._resident.active_at}

    def _measure(self) -> dict[str, Any]:
        assignment = self._resident.instance.assignment
        limits = _Limits(assignment.vcpus, assignment.ram_gb, assignment.disk_gb) if assignment else _Limits()
        used = self._processes.measure(self._resident.process_pids())
        cores = min(limits.cores, os.cpu_count() or 1)  # promised ones that the machine has not cannot be busy
        cards = self._cards.measure(assignment.gpus if assignment else [], used, cores)
        if used.cpu_percent >= _AT_WORK_PERCENT or any(_at_work(card) for card in cards):
            self._resident.instance.touch()
        return {
            "at": time.time(),
            "gpus": cards,
            "cpu": {
                "percent": round(min(100.0, used.cpu_percent / cores), 1),
                "cores": os.cpu_count() or 1,
                "limit_cores": limits.cores,
            },
            "memory": {"used_mb": used.memory // MB, "limit_mb": limits.ram_gb * 1024},
            "disk": {"used_mb": self._disk.used() // MB, "limit_mb": limits.disk_gb * 1024},
            "processes": [_row(one, self._cards.memory_by_pid) for one in used.processes[:_LISTED]],
        }


def _at_work(card: dict[str, Any]) -> bool:
    return not card["simulated"] and card["utilization_percent"] >= _AT_WORK_PERCENT


def _row(one: Process, gpu_memory: dict[int, int]) -> dict[str, Any]:
    row = {
        "pid": one.pid,
        "name": one.name,
        "cpu_percent": round(one.cpu_percent, 1),
        "memory_mb": one.memory // MB,
    }
    return {**row, "gpu_memory_mb": gpu_memory[one.pid]} if one.pid in gpu_memory else row
