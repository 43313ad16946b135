"""How busy the instance's cards are: real ones as NVML says, simulated ones made up honestly.

A simulated card computes nothing, so what it shows follows from what the instance's programs do on the processor: as busy
as they keep the cores of the instance, as full as their memory. Temperature and power would be inventions and are left out;
every such row says `simulated`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gpuyard.resident.usage import MB, Used
from gpuyard.resident.wire import GrantedGpu

log = logging.getLogger("gpuyard.resident")


class Cards:
    """Asks NVML, which is loaded when the first real card is asked for and stays loaded."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._missing = False
        self.memory_by_pid: dict[int, int] = {}
        """Mebibytes of real cards by process, as of the last measurement."""

    def measure(self, gpus: Sequence[GrantedGpu], used: Used, cores: int) -> list[dict[str, Any]]:
        """One row for each card of the instance, in the order it has them."""
        self.memory_by_pid = {}
        simulated = [gpu for gpu in gpus if gpu.simulated]
        busy = min(100.0, used.cpu_percent / cores)
        full = used.memory // MB // len(simulated) if simulated else 0
        return [self._simulated(gpu, busy, full) if gpu.simulated else self._real(gpu) for gpu in gpus]

    def _simulated(self, gpu: GrantedGpu, busy: float, full: int) -> dict[str, Any]:
        return _row(gpu, gpu.memory_mb, min(full, gpu.memory_mb), round(busy, 1))

    def _real(self, gpu: GrantedGpu) -> dict[str, Any]:
        nvml = self._loaded()
        if nvml is None:
            return _row(gpu, gpu.memory_mb, 0, 0.0)
        try:
            card = _find(nvml, gpu)
            memory = nvml.nvmlDeviceGetMemoryInfo(card)
            busy = nvml.nvmlDeviceGetUtilizationRates(card).gpu
        except nvml.NVMLError as error:
            log.warning("NVML says nothing of card %s: %s", gpu.index, error)
            return _row(gpu, gpu.memory_mb, 0, 0.0)
        row = _row(gpu, memory.total // MB, memory.used // MB, float(busy))
        with suppress(nvml.NVMLError):
            row["temperature_c"] = nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)
        with suppress(nvml.NVMLError):
            row["power_w"] = round(nvml.nvmlDeviceGetPowerUsage(card) / 1000, 1)
        with suppress(nvml.NVMLError):
            for one in nvml.nvmlDeviceGetComputeRunningProcesses(card):
                taken = (one.usedGpuMemory or 0) // MB
                self.memory_by_pid[one.pid] = self.memory_by_pid.get(one.pid, 0) + taken
        return row

    def _loaded(self) -> Any:
        if self._nvml is None and not self._missing:
            try:
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml
            except Exception as error:  # no driver, another version of it, no library: all the same to us
                log.warning("NVML cannot be used, so real cards are shown idle: %s", error)
                self._missing = True
        return self._nvml


def _find(nvml: Any, gpu: GrantedGpu) -> Any:
    """By its uuid; by its index where the uuid is one that NVML does not know, inside some containers."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
    except nvml.NVMLError:
        return nvml.nvmlDeviceGetHandleByIndex(gpu.index)


def _row(gpu: GrantedGpu, total: int, used: int, busy: float) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "memory_total_mb": total,
        "memory_used_mb": used,
        "utilization_percent": busy,
        "simulated": gpu.simulated,
    }
