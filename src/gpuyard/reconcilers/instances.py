"""One pass over one instance: look at it, decide, do at most one thing, write down what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gpuyard.domain.errors import InstanceUnreachable, ProviderRefused, ProviderUnavailable, StorageFull, YardError
from gpuyard.domain.executions import ExecutionEvent
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import ENDED, INSTANCE_LIFECYCLE, Instance, InstanceEvent, InstanceState
from gpuyard.domain.ledger import Reached
from gpuyard.domain.planning import NEEDS_NO_SIGHTING, Ask, Plan, plan
from gpuyard.domain.sightings import Presence, Sighting
from gpuyard.ports.provider import CanStop, Provider
from gpuyard.ports.store import Claim, Tx
from gpuyard.services import executions, inside
from gpuyard.services.meters import limit_of, meter, open_intervals
from gpuyard.services.moves import ClaimLost, give_back, move
from gpuyard.services.yard import Yard

CLAIM_FOR = timedelta(seconds=60)
STAY_UP_TO = timedelta(milliseconds=500)
"""Shorter waits are spent holding the claim; for longer ones it is given back."""
METER_EVERY = timedelta(seconds=30)
FULL_FOR = timedelta(seconds=15)
"""How long a provider's "no room" outweighs its offers."""
BACKOFF_FIRST, BACKOFF_MOST = timedelta(milliseconds=500), timedelta(seconds=30)

S, E = InstanceState, InstanceEvent

TELL_OF_SILENCE = frozenset({S.REQUESTED, S.PROVISIONING, S.STARTING, S.RUNNING, S.DELETING})
"""Where the reason of a state may say that its provider does not answer; elsewhere it says how it came to that state."""


@dataclass
class InstanceReconciler:
    """Called with an id, never with an event; the same instance is never worked on twice at once."""

    yard: Yard
    holder: str
    answer_within: timedelta = timedelta(seconds=20)
    """How long a provider may take for one answer: two of them well within a claim, and one that hangs must not keep
    everybody's instances waiting."""
    failures: dict[InstanceId, int] = field(default_factory=dict)
    idle_since: dict[InstanceId, datetime] = field(default_factory=dict)
    began_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.began_at = self.yard.clock.now()

    async def reconcile(self, instance_id: InstanceId) -> None:
        """Pass over the instance until there is nothing to do at once. Returns silently when another holds it."""
        yard = self.yard
        now = yard.clock.now()
        claim = await yard.store.write(
            lambda tx: tx.instances.claim(instance_id, self.holder, now=now, until=now + CLAIM_FOR)
        )
        if claim is None:
            return
        bell = yard.hints.instance(instance_id)
        hold_until = now + CLAIM_FOR / 4  # a pass that begins just before still ends well within the claim
        try:
            while yard.clock.now() < hold_until:
                rung = bell.rung
                again_in = await self._pass(claim)
                if again_in is None or again_in > STAY_UP_TO:
                    break
                if again_in:
                    await bell.heard(rung, again_in.total_seconds())
        except ClaimLost:
            return
        finally:
            await yard.store.write(lambda tx: tx.instances.unclaim(claim))

    async def _pass(self, claim: Claim) -> timedelta | None:
        """One look and at most one ask and one event. Answers when to look again."""
        yard = self.yard
        instance = await yard.store.read(lambda tx: tx.instances.get(claim.instance_id))
        if instance is None:
            return None
        provider = yard.providers.get(instance.provider or "")
        try:
            async with _answering(instance, self.answer_within):
                seen = await self._sight(instance, provider)
            idle_since = await self._idle_since(instance, seen)
            now = yard.clock.now()
            planned = _give_up_or(plan(instance, seen, now, looking_since=self.began_at), instance, now)
            if planned.ask is not None and provider is not None:
                async with _answering(instance, self.answer_within):
                    await self._ask(planned.ask, instance, provider)
        except ProviderRefused as no:
            planned, seen, idle_since = self._refused(instance, no), Sighting(Presence.ABSENT), None
        except (ProviderUnavailable, StorageFull) as gone:
            return await self._try_later(claim, instance, gone)
        self.failures.pop(instance.id, None)
        after = await yard.store.write(lambda tx: _write_down(tx, yard, claim, instance, planned, seen, idle_since))
        self._tell(instance, after, planned)
        if after.state in ENDED and instance.state not in ENDED:
            await yard.residents.forget(instance.id)
        ended_otherwise = planned.record is None and after.state is not instance.state
        return timedelta() if ended_otherwise else planned.again_in

    async def _sight(self, instance: Instance, provider: Provider | None) -> Sighting:
        if instance.state in NEEDS_NO_SIGHTING or instance.provider is None:
            return Sighting(Presence.ABSENT)
        if provider is None:
            raise ProviderUnavailable(f"the provider {instance.provider!r} is not configured any more")
        return await provider.sight(instance.id)

    async def _idle_since(self, instance: Instance, seen: Sighting) -> datetime | None:
        """Silence is not activity: whoever does not answer is idle since what it said last."""
        if instance.limits.max_idle is None or instance.state is not S.RUNNING:
            self.idle_since.pop(instance.id, None)
            return None
        since = self.idle_since.get(instance.id, max(instance.entered_at, self.began_at))
        if seen.presence is Presence.RUNNING:
            with suppress(InstanceUnreachable):
                samples = await inside.resident_of(self.yard, instance).samples()
                since = max(samples.active_at or instance.entered_at, instance.entered_at)
        self.idle_since[instance.id] = since
        return since

    async def _ask(self, ask: Ask, instance: Instance, provider: Provider) -> None:
        match ask:
            case Ask.ORDER:
                await provider.order(self.yard.order_for(instance))
            case Ask.START if isinstance(provider, CanStop):
                await provider.start(self.yard.order_for(instance))
            case Ask.STOP if isinstance(provider, CanStop):
                await provider.stop(instance.id)
            case Ask.RELEASE:
                await provider.release(instance.id)
            case _:
                raise ProviderUnavailable(f"the provider {instance.provider!r} cannot {ask} any more, as it once could")

    def _refused(self, instance: Instance, no: ProviderRefused) -> Plan:
        """A provider's no: back in line if waiting may help and the customer is willing, else the end."""
        if no.details.get("no_capacity"):
            self.yard.offers.refused(list(instance.pools), self.yard.clock.now() + FULL_FOR)
            if instance.may_wait and INSTANCE_LIFECYCLE.allows(instance.state, E.UNPLACED):
                return Plan(record=E.UNPLACED, reason=no.message, capacity_returned=True)
        if INSTANCE_LIFECYCLE.allows(instance.state, E.REFUSED):
            return Plan(record=E.REFUSED, reason=no.message, again_in=timedelta())
        return Plan(again_in=BACKOFF_MOST, reason=no.message)

    async def _try_later(self, claim: Claim, instance: Instance, why: YardError) -> timedelta:
        """Nothing is known, so nothing is decided, except that our patience may have run out."""
        count = self.failures[instance.id] = self.failures.get(instance.id, 0) + 1
        wait: timedelta = min(BACKOFF_FIRST * int(2 ** min(count - 1, 10)), BACKOFF_MOST)
        now = self.yard.clock.now()
        blind = _give_up_or(Plan(again_in=wait), instance, now)

        def write(tx: Tx) -> Instance:
            current = tx.instances.get(instance.id)
            if current is None or current.state is not instance.state:
                return instance
            if blind.record is not None:
                return move(tx, current, blind.record, now=now, reason=f"{blind.reason}: {why.message}", claim=claim)
            reached = limit_of(tx, current, now) if current.state is S.RUNNING else None
            if reached is not None and reached.at <= now:
                return _end_run(tx, claim, current, reached, now)
            tx.instances.wake(instance.id, _sooner(now + wait, reached))
            if current.state_reason != why.message and current.state in TELL_OF_SILENCE:
                tx.instances.save(replace(current, state_reason=why.message), claim=claim)
            return current

        after = await self.yard.store.write(write)
        self._tell(instance, after, blind)
        return wait

    def _tell(self, before: Instance, after: Instance, planned: Plan) -> None:
        if after.state is not before.state:
            self.yard.hints.events(after.account_id).ring()
            self.yard.hints.executions.ring()
        if planned.capacity_returned or after.state is S.WAITING:
            self.yard.hints.line.ring()


@asynccontextmanager
async def _answering(instance: Instance, within: timedelta) -> AsyncIterator[None]:
    """An answer that does not come is one that was lost: what was asked for may have happened all the same."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            yield
    except TimeoutError:
        seconds = within.total_seconds()
        raise ProviderUnavailable(
            f"the provider {instance.provider!r} did not answer within {seconds:.0f} seconds"
        ) from None


def _give_up_or(planned: Plan, instance: Instance, now: datetime) -> Plan:
    """The customer's own patience: from creation to the first time it runs."""
    limit = instance.limits.max_start
    if limit is None or instance.running_at is not None or now - instance.created_at < limit:
        return planned
    if planned.record is E.READY or not INSTANCE_LIFECYCLE.allows(instance.state, E.GAVE_UP):
        return planned
    return Plan(
        record=E.GAVE_UP,
        reason=f"it did not run within {limit.total_seconds():.0f} seconds: {instance.state_reason or instance.state}",
        again_in=timedelta(),
    )


def _write_down(
    tx: Tx,
    yard: Yard,
    claim: Claim,
    looked_at: Instance,
    planned: Plan,
    seen: Sighting,
    idle_since: datetime | None,
) -> Instance:
    """Make the plan true, unless somebody changed the state since we looked: then only look again."""
    now = yard.clock.now()
    instance = tx.instances.get(looked_at.id)
    if instance is None:
        return looked_at
    if instance.state is not looked_at.state:
        tx.instances.wake(instance.id, now)
        return instance
    if planned.capacity_returned:
        give_back(tx, instance)
    if planned.gone:
        _lose_executions(tx, instance, now)
    wake_at = None if planned.again_in is None else now + planned.again_in
    if planned.record is not None:
        return _record(tx, yard, claim, instance, planned, now, wake_at)
    if instance.state is S.RUNNING:
        return _keep_running(tx, claim, instance, seen, now, wake_at, idle_since)
    if instance.state is S.WAITING and instance.limits.max_start is not None and instance.running_at is None:
        wake_at = instance.created_at + instance.limits.max_start
    tx.instances.wake(instance.id, wake_at)
    return instance


def _record(
    tx: Tx, yard: Yard, claim: Claim, instance: Instance, planned: Plan, now: datetime, wake_at: datetime | None
) -> Instance:
    assert planned.record is not None
    changes: dict[str, object] = {}
    until = None
    if planned.record is E.READY:
        changes["has_disk"] = isinstance(yard.providers.get(instance.provider or ""), CanStop)
    if instance.state is S.RUNNING:  # found ended: the customer pays until it was last seen, not until we noticed
        until = max((i.seen_at for i in open_intervals(tx, instance) if i.seen_at is not None), default=now)
    moved = move(
        tx,
        instance,
        planned.record,
        now=now,
        reason=planned.reason or (instance.state_reason if planned.record in (E.HALTED, E.RELEASED) else ""),
        claim=claim,
        until=until,
        wake_at=wake_at,
        **changes,
    )
    if moved.state in (S.STOPPED, S.FAILED):
        _lose_executions(tx, moved, now)
    if planned.again_in is None and moved.state is not S.WAITING:
        tx.instances.wake(moved.id, None)
    if moved.state is S.RUNNING:
        tx.instances.wake(moved.id, _sooner(wake_at, limit_of(tx, moved, now)))
    return moved


def _keep_running(
    tx: Tx,
    claim: Claim,
    instance: Instance,
    seen: Sighting,
    now: datetime,
    wake_at: datetime | None,
    idle_since: datetime | None,
) -> Instance:
    """Its limits hold whether or not it is seen; it is charged, and called well, only where it was."""
    reached = limit_of(tx, instance, now, idle_since=idle_since)
    if reached is not None and reached.at <= now:
        return _end_run(tx, claim, instance, reached, now)
    if seen.presence is Presence.RUNNING:
        for interval in open_intervals(tx, instance):
            if now - (interval.seen_at or interval.started_at) >= METER_EVERY:
                meter(tx, interval, now)
        if instance.state_reason:  # its provider was silent for a while
            instance = replace(instance, state_reason="")
            tx.instances.save(instance, claim=claim)
    tx.instances.wake(instance.id, _sooner(wake_at, reached))
    return instance


def _end_run(tx: Tx, claim: Claim, instance: Instance, reached: Reached, now: datetime) -> Instance:
    """Stop what can be stopped, which says its disk and not today's settings: a provider that is missing from them
    by mistake must find the disk again."""
    event = E.STOP if instance.has_disk else E.DELETE
    return move(tx, instance, event, now=now, reason=reached.text, claim=claim, until=reached.at)


def _sooner(wake_at: datetime | None, reached: Reached | None) -> datetime | None:
    return min((at for at in (wake_at, reached.at if reached else None) if at is not None), default=None)


def _lose_executions(tx: Tx, instance: Instance, now: datetime) -> None:
    for execution in tx.executions.unfinished(instance.id):
        executions.finish(
            tx, execution, ExecutionEvent.INSTANCE_GONE, ended_at=now, reason=f"the instance was {instance.state}"
        )
