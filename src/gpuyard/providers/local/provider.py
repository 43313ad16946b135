"""The provider `local`: instances as processes of this machine."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gpuyard.domain.errors import ProviderRefused, StorageFull
from gpuyard.domain.gpus import GpuCatalogue
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.offers import Offer
from gpuyard.domain.sightings import Presence, Reach, Sighting
from gpuyard.ports.provider import Order
from gpuyard.providers.bell import Bell
from gpuyard.providers.local import adoption
from gpuyard.providers.local.adoption import epitaph
from gpuyard.providers.local.cards import find_cards
from gpuyard.providers.local.disk import Disk, Place, Record, Wanted
from gpuyard.providers.local.launch import Launcher
from gpuyard.providers.local.limits import Limits, find_limits
from gpuyard.providers.local.machine import Machine
from gpuyard.providers.local.pool import WarmPool
from gpuyard.providers.local.settings import LocalSettings
from gpuyard.providers.local.stock import Stock
from gpuyard.providers.local.walls import find_walls
from gpuyard.resident.wire import Assignment

log = logging.getLogger(__name__)

_STOP_GRACE_SECONDS = 5.0
_RELEASE_GRACE_SECONDS = 1.0
"""Less than at a stop: nothing of it is kept but what the yard has copied already."""
_TRUSTED_SECONDS = 5.0
"""How long an answer of a resident counts. That its process ended we are told at once."""

P, W = Presence, Wanted


class LocalProvider:
    """One per data directory. All that must survive is on disk before a method returns (`disk.py`); all that takes time
    happens in one task per machine, which drives it to where its record wants it and can be started again anywhere."""

    def __init__(self, settings: LocalSettings, catalogue: GpuCatalogue) -> None:
        self.name = settings.name
        self.settings = settings
        self.warnings: tuple[str, ...] = ()
        """What the owner should know: no sandbox, limits that are not enforced. Complete after `open`."""
        self._catalogue = catalogue
        self._disk = Disk(settings.data_dir)
        self._stock = Stock(settings, (), self._records)
        self._machines: dict[InstanceId, Machine] = {}
        self._bell = Bell()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._launcher = Launcher(settings.python, None)
        self._limits: Limits = find_limits()
        self._pool = WarmPool(
            settings.warm_pool,
            make=lambda: self._machine(self._disk.place(secrets.token_hex(6))),
            discard=self._discard,
            busy=self._is_busy,
        )
        self._closing = False

    # life of the provider

    async def open(self) -> None:
        try:
            self._disk.open()
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            await self._take_stock()
        except BaseException:
            self._disk.close()
            raise
        self._sweep()
        self._pool.open()

    async def _take_stock(self) -> None:
        cards = await asyncio.to_thread(find_cards, self.settings.simulate, self._catalogue)
        self._stock = Stock(self.settings, cards, self._records)
        self._launcher, warnings = await find_walls(self.settings, self._disk, real_cards=not self._stock.simulated)
        simulated = ("no GPU was found: the cards are simulated",) if self._stock.simulated else ()
        unkept = (*self._limits.warnings, "the disk size of an instance is not enforced")
        self.warnings = (*simulated, *warnings, *unkept)
        self._machines = await adoption.take_stock(self._disk, self._machine, region=self.settings.region)
        for machine in self._machines.values():
            self._drive(machine)

    async def close(self) -> None:
        self._closing = True
        await self._pool.close()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for machine in self._machines.values():
            machine.let_go()
        self._disk.close()

    # what a yard asks

    async def offers(self) -> Sequence[Offer]:
        return self._stock.offers()

    async def order(self, order: Order) -> None:
        known = self._machines.get(order.instance_id)
        if known is not None:
            await self._surely(self._save(known))
            self._drive(known)
            return
        self._stock.must_suit(order)
        gpus = self._stock.grant(order.spec)
        machine = self._pool.take() or self._machine(self._disk.place(secrets.token_hex(6)))
        machine.record = Record(order, gpus)
        self._machines[order.instance_id] = machine  # from here on the cards are taken
        try:
            await self._surely(self._save(machine))
        except OSError as error:
            if not machine.saved:
                self._machines.pop(order.instance_id, None)
                await self._surely(self._discard(machine))
            raise self._cannot_write(error) from error
        self._drive(machine)

    async def sight(self, instance_id: InstanceId) -> Sighting:
        machine = self._machines.get(instance_id)
        if machine is None or machine.record is None:
            return Sighting(P.ABSENT)
        self._drive(machine)
        match machine.record.wanted:
            case W.GONE:
                return Sighting(P.STOPPING, machine.failed)
            case W.STOPPED:
                return Sighting(P.STOPPED if machine.record.settled else P.STOPPING)
        if machine.failed:
            return Sighting(P.FAILED, machine.failed)
        if not machine.ready:
            return Sighting(P.PENDING)
        fresh = asyncio.get_running_loop().time() - machine.answered_at < _TRUSTED_SECONDS
        return Sighting(P.RUNNING if fresh or await machine.answers() else P.PENDING)

    async def release(self, instance_id: InstanceId) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            await self._want(machine, W.GONE)

    async def stop(self, instance_id: InstanceId) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None and machine.record is not None and machine.record.wanted is W.RUNNING:
            await self._want(machine, W.STOPPED)

    async def start(self, order: Order) -> None:
        machine = self._machines.get(order.instance_id)
        if machine is None or machine.record is None:
            raise ProviderRefused(f"{self.name} keeps no disk of {order.instance_id}")
        if machine.record.wanted is not W.STOPPED or not machine.record.settled:
            return
        self._stock.must_suit(order)
        stopped, machine.record = machine.record, Record(order, self._stock.grant(order.spec))
        machine.saved = False
        machine.failed = ""
        try:
            await self._surely(self._save(machine))
        except OSError as error:
            machine.record, machine.saved = stopped, True
            raise self._cannot_write(error) from error
        self._drive(machine)

    async def tenants(self) -> Sequence[InstanceId]:
        return list(self._machines)

    async def changed(self) -> InstanceId:
        return await self._bell.next()

    def reach(self, instance_id: InstanceId) -> Reach | None:
        machine = self._machines.get(instance_id)
        if machine is None or machine.record is None or machine.record.wanted is not W.RUNNING or not machine.ready:
            return None
        return Reach(socket=str(machine.place.socket))

    def _records(self) -> Iterable[Record]:
        return (machine.record for machine in self._machines.values() if machine.record is not None)

    def _cannot_write(self, error: OSError) -> StorageFull:
        return StorageFull(
            f"{self.name} cannot write to {self.settings.data_dir}: {error.strerror or error}",
            hint="make room there, or make it writable",
        )

    # bringing machines to where they should be

    def _drive(self, machine: Machine) -> None:
        """See to it that somebody works on the machine, if there is anything to do."""
        idle = machine.work is None or machine.work.done()
        if idle and machine.saved and not self._closing and not _is_settled(machine):
            machine.work = asyncio.create_task(self._bring(machine), name=f"machine {machine.place.slot}")
            self._keep(machine.work)

    async def _bring(self, machine: Machine) -> None:
        try:
            while not self._closing and not _is_settled(machine):
                assert machine.record is not None
                match machine.record.wanted:
                    case W.RUNNING:
                        await self._bring_up(machine)
                    case W.STOPPED:
                        await self._bring_down(machine)
                    case W.GONE:
                        await self._bring_away(machine)
                        break
        except OSError as error:
            log.warning("machine %s: %s", machine.place.slot, error)
            if machine.record is not None and machine.record.wanted is W.RUNNING:
                machine.failed = f"it could not be started: {error}"
        finally:
            self._ring(machine)
            self._pool.poke()

    async def _bring_up(self, machine: Machine) -> None:
        """Until its resident serves the instance; or it failed, or something else is wanted."""
        record = machine.record
        assert record is not None
        fresh = not machine.alive
        if fresh:
            await machine.launch(_assignment(record))

        def still_wanted() -> bool:
            return machine.record is record and not self._closing

        if await machine.until_it_answers(still_wanted):
            assert machine.running is not None
            if machine.running.assigned or await machine.assign(_assignment(record)):
                spec = record.order.spec
                await asyncio.to_thread(
                    self._limits.confine,
                    machine.place.slot,
                    machine.running.watched,
                    vcpus=spec.vcpus,
                    ram_gb=spec.ram_gb,
                )
                machine.ready = machine.alive and still_wanted()
            elif still_wanted():
                await machine.kill()  # a spare that would not serve; the next round starts a resident of its own
        elif still_wanted() and fresh:
            machine.failed = machine.failed or epitaph(machine)
        elif still_wanted():
            await machine.kill()

    async def _bring_down(self, machine: Machine) -> None:
        record = machine.record
        assert record is not None
        await machine.end(record.order.resident_secret, _STOP_GRACE_SECONDS)
        await asyncio.to_thread(self._limits.free, machine.place.slot)
        await asyncio.to_thread(machine.place.forget_running)
        await asyncio.to_thread(machine.place.clear_tmp)
        async with machine.writing:
            stopped = replace(record, gpus=(), settled=True)
            if machine.record is record:  # on disk first: once seen here, others may have its cards
                await asyncio.to_thread(machine.place.write_record, stopped)
            if machine.record is record:
                machine.record = stopped

    async def _bring_away(self, machine: Machine) -> None:
        record = machine.record
        assert record is not None
        await machine.end(record.order.resident_secret, _RELEASE_GRACE_SECONDS)
        await asyncio.to_thread(self._limits.free, machine.place.slot)
        await asyncio.to_thread(self._disk.retire, machine.place, record.order.instance_id)
        self._machines.pop(record.order.instance_id, None)
        self._sweep()

    async def _want(self, machine: Machine, wanted: Wanted) -> None:
        assert machine.record is not None
        if machine.record.wanted is not wanted:
            machine.record = replace(machine.record, wanted=wanted, settled=False)
            machine.ready = False
            machine.saved = False
        try:
            await self._surely(self._save(machine))
        except OSError as error:
            if wanted is not W.GONE:
                raise self._cannot_write(error) from error
            machine.saved = True  # a full disk must not keep us from erasing; after a crash we are asked again
        self._drive(machine)

    async def _save(self, machine: Machine) -> None:
        """Write the record as it is by now; whoever comes second finds it written."""
        async with machine.writing:
            while not machine.saved and machine.record is not None:
                record = machine.record
                await asyncio.to_thread(self._disk.admit, record.order.instance_id, machine.place, record)
                machine.saved = machine.record is record

    def _ended(self, machine: Machine) -> None:
        """The process of a machine has ended, whoever wanted it."""
        if machine.record is None:
            self._pool.poke()
        elif machine.record.wanted is W.RUNNING and not machine.ending and machine.running is not None:
            if machine.running.assigned:
                machine.failed = epitaph(machine)
                self._keep(asyncio.ensure_future(self._clean_up(machine)))
            self._ring(machine)

    async def _clean_up(self, machine: Machine) -> None:
        """End what a resident that ended by itself has left running."""
        try:
            await machine.kill()
        except OSError as error:
            log.warning("machine %s: %s", machine.place.slot, error)

    def _machine(self, place: Place) -> Machine:
        return Machine(place, self._launcher, self._ended)

    # small things

    def _is_busy(self) -> bool:
        return any(
            m.record is not None and m.record.wanted is W.RUNNING and not m.ready and not m.failed
            for m in self._machines.values()
        )

    async def _discard(self, machine: Machine) -> None:
        await machine.kill()
        await asyncio.to_thread(self._disk.retire, machine.place)
        self._sweep()

    def _sweep(self) -> None:
        self._keep(asyncio.ensure_future(asyncio.to_thread(self._disk.empty_trash)))

    def _ring(self, machine: Machine) -> None:
        if machine.record is not None:
            self._bell.ring(machine.record.order.instance_id)

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _surely(self, work: Coroutine[Any, Any, None]) -> None:
        """Finish `work` even if whoever waits for it is cancelled: a thread cannot be stopped between two writes."""
        task = asyncio.ensure_future(work)
        self._keep(task)
        await asyncio.shield(task)


def _is_settled(machine: Machine) -> bool:
    """Is it where its record wants it, or past help?"""
    record = machine.record
    if record is None:
        return True
    if record.wanted is W.RUNNING:
        return machine.ready or bool(machine.failed)
    return record.settled


def _assignment(record: Record) -> Assignment:
    order, spec = record.order, record.order.spec
    return Assignment(
        instance_id=order.instance_id,
        short_id=order.short_id,
        name=order.name,
        secret=order.resident_secret,
        app_password=order.app_password,
        env=dict(spec.env),
        gpus=list(record.gpus),
        vcpus=spec.vcpus,
        ram_gb=spec.ram_gb,
        disk_gb=spec.disk_gb,
    )
