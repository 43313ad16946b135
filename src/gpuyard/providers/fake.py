"""A provider without machines: for trying the API, and for tests. It can misbehave in one named way at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gpuyard.domain.errors import Invalid, ProviderRefused, ProviderUnavailable
from gpuyard.domain.gpus import CPU, Gpu, GpuCatalogue
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import InstanceSpec
from gpuyard.domain.offers import Offer
from gpuyard.domain.sightings import Presence, Reach, Sighting
from gpuyard.ports.clock import Clock, SystemClock
from gpuyard.ports.provider import Order
from gpuyard.providers.bell import Bell
from gpuyard.providers.prices import cpu_price, parse_counts, parse_prices, price_of


class Misbehaviour(StrEnum):
    NONE = "none"
    SLOW = "slow"
    """Machines take `FakeSettings.slowness` to become ready or to end."""
    STUCK = "stuck"
    """Machines never become ready."""
    UNAVAILABLE = "unavailable"
    """Every call fails and does nothing."""
    LOSE_REPLY = "lose_reply"
    """Does what is asked, then says it could not be reached."""
    REFUSE = "refuse"
    """Refuses every order and start for good."""
    LIE = "lie"
    """Offers show everything free; orders and starts are refused for want of capacity."""
    CRASH = "crash"
    """New machines end by themselves before they are ready."""
    VANISH = "vanish"
    """Machines that ran are gone, disk and all."""
    DEAF = "deaf"
    """Accepts releases and stops, and does nothing."""


M = Misbehaviour


@dataclass(frozen=True, slots=True)
class FakeSettings:
    gpus: Mapping[str, int] = field(default_factory=lambda: {"nvidia-rtx-3090": 2, "nvidia-rtx-4090": 1})
    """How many cards of which type; `cpu` counts instances without a card."""
    cpus: int = 64
    prices: Mapping[str, int] = field(default_factory=dict)
    name: str = "fake"
    region: str = "nowhere"
    ready_after: timedelta = timedelta(0)
    slowness: timedelta = timedelta(seconds=30)
    owned: bool = True
    """True: `total` is known and the yard counts. False: as a cloud, where only `available` is known."""
    images: frozenset[str] | None = None


@dataclass(slots=True)
class Machine:
    """One pretended machine, as a test may look at it or break it."""

    order: Order
    ready_at: datetime | None
    """None: never."""
    orders: int = 1
    stopped: bool = False
    gone_at: datetime | None = None
    """Set while it is being ended slowly."""
    failed: str = ""
    starts: int = 0


class FakeProvider:
    """`machines` may be shared by several providers one after the other: that is a server restart."""

    def __init__(
        self,
        catalogue: GpuCatalogue,
        settings: FakeSettings | None = None,
        *,
        clock: Clock | None = None,
        machines: dict[InstanceId, Machine] | None = None,
        reach: Callable[[Order], Reach | None] = lambda order: None,
    ) -> None:
        self.settings = settings or FakeSettings()
        self.name = self.settings.name
        self.clock: Clock = clock or SystemClock()
        self.machines: dict[InstanceId, Machine] = {} if machines is None else machines
        self.misbehaviour = M.NONE
        self.calls: list[str] = []
        """Every ask, oldest first: `order inst_…`."""
        self._cards: Mapping[str, Gpu] = {slug: catalogue.resolve(slug) for slug in self.settings.gpus if slug != CPU}
        self._reach = reach
        self._bell = Bell()
        self._alarms: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        for instance_id, machine in self.machines.items():
            self._ring_at(instance_id, machine.ready_at)

    async def close(self) -> None:
        for alarm in self._alarms:
            alarm.cancel()
        await asyncio.gather(*self._alarms, return_exceptions=True)

    async def offers(self) -> Sequence[Offer]:
        self._must_answer()
        now = self.clock.now()
        taken = {} if self.misbehaviour is M.LIE else self._taken()
        cpu = Gpu(slug=CPU, name="CPU", memory_gb=0, vendor="", architecture="")
        return [
            self._offer(gpu, total, taken.get(gpu.slug, 0), now)
            for gpu, total in (
                *((gpu, self._total(slug)) for slug, gpu in self._cards.items()),
                (cpu, self._total(CPU)),
            )
        ]

    async def order(self, order: Order) -> None:
        self._ask("order", order.instance_id)
        known = self.machines.get(order.instance_id)
        if known is not None:
            known.orders += 1
        else:
            self._must_fit(order.spec)
            self.machines[order.instance_id] = Machine(order=order, ready_at=None)
            self._power_on(order.instance_id)
        self._lose_reply()

    async def sight(self, instance_id: InstanceId) -> Sighting:
        self._must_answer()
        self._settle(instance_id)
        machine = self.machines.get(instance_id)
        if machine is None:
            return Sighting(Presence.ABSENT)
        if machine.failed:
            return Sighting(Presence.FAILED, machine.failed)
        if machine.gone_at is not None:
            return Sighting(Presence.STOPPING)
        if machine.stopped:
            return Sighting(Presence.STOPPED)
        ready = machine.ready_at is not None and machine.ready_at <= self.clock.now()
        return Sighting(Presence.RUNNING if ready else Presence.PENDING)

    async def release(self, instance_id: InstanceId) -> None:
        self._ask("release", instance_id)
        machine = self.machines.get(instance_id)
        if machine is not None and self.misbehaviour is not M.DEAF:
            machine.stopped = False
            self._end(instance_id, machine)
        self._lose_reply()

    async def stop(self, instance_id: InstanceId) -> None:
        self._ask("stop", instance_id)
        machine = self.machines.get(instance_id)
        if machine is not None and not machine.stopped and machine.gone_at is None and self.misbehaviour is not M.DEAF:
            machine.stopped, machine.failed = True, ""
            self._end(instance_id, machine)
        self._lose_reply()

    async def start(self, order: Order) -> None:
        self._ask("start", order.instance_id)
        self._settle(order.instance_id)
        machine = self.machines.get(order.instance_id)
        if machine is None:
            raise ProviderRefused(f"{self.name} keeps no disk of {order.instance_id}")
        if machine.stopped and machine.gone_at is None:
            self._must_fit(order.spec)
            self.machines[order.instance_id] = replace(machine, order=order, stopped=False, starts=machine.starts + 1)
            self._power_on(order.instance_id)
        self._lose_reply()

    async def tenants(self) -> Sequence[InstanceId]:
        self._must_answer()
        return list(self.machines)

    async def changed(self) -> InstanceId:
        return await self._bell.next()

    def reach(self, instance_id: InstanceId) -> Reach | None:
        machine = self.machines.get(instance_id)
        return None if machine is None or machine.stopped else self._reach(machine.order)

    def misbehave(self, way: Misbehaviour) -> None:
        """From now on, in this way alone. VANISH acts at once, on what runs; NONE ends it."""
        self.misbehaviour = way
        if way is M.VANISH:
            for instance_id in [id_ for id_, machine in self.machines.items() if self._runs(machine)]:
                del self.machines[instance_id]
                self._bell.ring(instance_id)

    def _ask(self, verb: str, instance_id: InstanceId) -> None:
        self.calls.append(f"{verb} {instance_id}")
        self._must_answer()

    def _must_answer(self) -> None:
        if self.misbehaviour is M.UNAVAILABLE:
            raise ProviderUnavailable(f"{self.name} does not answer")

    def _lose_reply(self) -> None:
        if self.misbehaviour is M.LOSE_REPLY:
            raise ProviderUnavailable(f"the reply of {self.name} was lost")

    def _must_fit(self, spec: InstanceSpec) -> None:
        if self.misbehaviour is M.REFUSE:
            raise ProviderRefused(f"{self.name} refuses every order")
        taken = self._taken()
        short = [slug for slug, count in spec.demand().items() if taken.get(slug, 0) + count > self._total(slug)]
        if short or self.misbehaviour is M.LIE:
            missing = ", ".join(short or spec.demand())
            raise ProviderRefused(f"{self.name} has no {missing} free", details={"no_capacity": True})

    def _power_on(self, instance_id: InstanceId) -> None:
        machine = self.machines[instance_id]
        delay = self.settings.slowness if self.misbehaviour is M.SLOW else self.settings.ready_after
        machine.ready_at = None if self.misbehaviour is M.STUCK else self.clock.now() + delay
        machine.failed = "it was told to crash" if self.misbehaviour is M.CRASH else ""
        self._ring_at(instance_id, machine.ready_at)

    def _end(self, instance_id: InstanceId, machine: Machine) -> None:
        delay = self.settings.slowness if self.misbehaviour is M.SLOW else timedelta(0)
        if machine.gone_at is None or delay == timedelta(0):
            machine.gone_at = self.clock.now() + delay
        self._settle(instance_id)
        self._ring_at(instance_id, machine.gone_at)

    def _settle(self, instance_id: InstanceId) -> None:
        """What was ending has ended, once its time has come."""
        machine = self.machines.get(instance_id)
        if machine is None or machine.gone_at is None or machine.gone_at > self.clock.now():
            return
        machine.gone_at = None
        if not machine.stopped:
            del self.machines[instance_id]

    def _runs(self, machine: Machine) -> bool:
        ready = machine.ready_at is not None and machine.ready_at <= self.clock.now()
        return ready and not machine.stopped and not machine.failed

    def _taken(self) -> dict[str, int]:
        taken: dict[str, int] = {}
        for instance_id in list(self.machines):
            self._settle(instance_id)
        for machine in self.machines.values():
            if machine.stopped and machine.gone_at is None:
                continue
            for slug, count in machine.order.spec.demand().items():
                taken[slug] = taken.get(slug, 0) + count
        return taken

    def _total(self, slug: str) -> int:
        return self.settings.gpus.get(slug, self.settings.cpus if slug == CPU else 0)

    def _offer(self, gpu: Gpu, total: int, taken: int, now: datetime) -> Offer:
        prices = self.settings.prices
        return Offer(
            provider=self.name,
            region=self.settings.region,
            gpu_type=gpu.slug,
            gpu_name=gpu.name,
            gpu_memory_gb=gpu.memory_gb,
            price_per_hour_micro=cpu_price(prices) if gpu.slug == CPU else price_of(gpu, prices),
            total=total if self.settings.owned else None,
            available=max(total - taken, 0),
            seen_at=now,
            simulated=True,
            images=self.settings.images,
        )

    def _ring_at(self, instance_id: InstanceId, at: datetime | None) -> None:
        if at is None:
            return
        seconds = (at - self.clock.now()).total_seconds()
        if seconds <= 0:
            self._bell.ring(instance_id)
            return
        alarm = asyncio.ensure_future(self._ring_after(instance_id, seconds))
        self._alarms.add(alarm)
        alarm.add_done_callback(self._alarms.discard)

    async def _ring_after(self, instance_id: InstanceId, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._bell.ring(instance_id)


_KNOWN = ("name", "region", "gpus", "cpus", "prices", "ready_after_seconds", "images", "owned")


def from_settings(settings: Mapping[str, Any], catalogue: GpuCatalogue) -> FakeProvider:
    """The entry point `fake`. Raises Invalid naming the field that is wrong."""
    unknown = sorted(set(settings) - set(_KNOWN))
    if unknown:
        raise Invalid(
            f"the provider fake has no setting {unknown[0]!r}",
            field=f"providers.fake.{unknown[0]}",
            hint=f"it has: {', '.join(_KNOWN)}",
        )
    plain = {key: settings[key] for key in ("name", "region", "cpus", "owned") if key in settings}
    if "gpus" in settings:
        plain["gpus"] = parse_counts(settings["gpus"], catalogue, field="providers.fake.gpus")
    if "prices" in settings:
        plain["prices"] = parse_prices(settings["prices"], catalogue, field="providers.fake.prices")
    if settings.get("images") is not None:
        plain["images"] = frozenset(settings["images"])
    if "ready_after_seconds" in settings:
        plain["ready_after"] = timedelta(seconds=float(settings["ready_after_seconds"]))
    return FakeProvider(catalogue, FakeSettings(**plain))
