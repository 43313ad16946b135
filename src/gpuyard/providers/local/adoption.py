"""Finding what an earlier life of the yard has left: machines that still run, and what serves nobody any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import InstanceSpec
from gpuyard.ports.provider import Order
from gpuyard.providers.local import processes
from gpuyard.providers.local.disk import Disk, Place, Record, Wanted
from gpuyard.providers.local.machine import Machine

Found = Mapping[str, Sequence[processes.Identity]]
"""Processes that say which machine they belong to, by its slot."""


async def take_stock(disk: Disk, make: Callable[[Place], Machine], *, region: str) -> dict[InstanceId, Machine]:
    """The machines of all instances, those that run taken over. Whatever belongs to no instance is ended and erased.

    Raises OSError if something will not die.
    """
    astray = disk.astray()
    machines = {instance_id: _recalled(make(place), instance_id, region) for instance_id, place in disk.admitted()}
    found = await asyncio.to_thread(processes.slots_in_use)
    await _end_leftovers(disk, make, machines.values(), found, astray)
    for machine in machines.values():
        await _adopt(machine, found.get(machine.place.slot, ()))
    return machines


def epitaph(machine: Machine) -> str:
    """Why a machine ended by itself, as far as it said."""
    said = machine.place.log_tail()
    return f"its resident ended by itself: {said}" if said else "its resident ended by itself"


def _recalled(machine: Machine, instance_id: InstanceId, region: str) -> Machine:
    record = machine.place.read_record()
    if record is None:
        # stands in for a record that is damaged, so that the instance can be seen and released
        record = Record(Order(instance_id, "", "", region, InstanceSpec(gpus=()), "", "", {}), ())
        machine.failed = "its record on disk cannot be read"
    machine.record = record
    machine.saved = True
    return machine


async def _adopt(machine: Machine, found: Sequence[processes.Identity]) -> None:
    """Take over what still runs of an instance, and end what cannot be used."""
    record, running = machine.record, machine.place.read_running()
    if record is None or record.settled:
        return
    if machine.failed:  # a damaged record: which cards it has is not known, so it must not have any
        machine.running = running
        await machine.kill()
        return
    if running is not None and running.assigned and processes.alive(running.watched):
        machine.adopt(running)
        return
    if found or running is not None:
        machine.running = running
        await machine.kill()
    if running is not None and running.assigned and record.wanted is Wanted.RUNNING:
        rebooted = running.watched.boot != processes.boot_id()
        machine.failed = "this computer was restarted" if rebooted else epitaph(machine)


async def _end_leftovers(
    disk: Disk,
    make: Callable[[Place], Machine],
    machines: Iterable[Machine],
    found: Found,
    astray: Sequence[Place],
) -> None:
    """Processes and directories that serve no instance, and processes whose directory somebody removed."""
    serving = {machine.place.slot for machine in machines}
    unlinked = {place.slot: place for place in [*disk.unlinked(), *astray]}
    for slot in set(found) & set(unlinked):
        await make(unlinked[slot]).kill()
    for place in unlinked.values():
        if place.slot not in serving:
            await asyncio.to_thread(disk.retire, place)
