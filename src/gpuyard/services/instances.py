"""What can be asked of instances: create, look, change, stop, start, delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import IdempotencyConflict, IllegalMove, NotFound
from gpuyard.domain.ids import InstanceId, new_instance_id, short_id
from gpuyard.domain.instances import (
    Instance,
    InstanceEvent,
    InstanceSpec,
    InstanceState,
    Limits,
    Placement,
    check_labels,
    check_name,
    default_name,
    may_stop,
)
from gpuyard.domain.placing import Placed
from gpuyard.ports.store import InstanceFilter, Page, Tx
from gpuyard.services import capacity
from gpuyard.services.meters import settle
from gpuyard.services.moves import move, note, reserve
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """What a customer asks for; GPU types as they spelled them."""

    spec: InstanceSpec
    name: str | None = None
    labels: Mapping[str, str] | None = None
    limits: Limits = Limits()
    placement: Placement = Placement()
    priority: int = 50
    wait: bool = False
    """Join the line when there is no capacity now."""
    allow_partial: bool = False
    """Take what there is when not everything is free."""
    idempotency_key: str | None = None
    request_digest: str = ""
    """Tells a repeated request from another one under the same key."""


@dataclass(frozen=True, slots=True)
class Change:
    """Only what is given changes."""

    name: str | None = None
    labels: Mapping[str, str] | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    """New values by the names of `Limits`; None lifts a limit."""
    priority: int | None = None


async def create(yard: Yard, caller: Caller, order: CreateOrder) -> tuple[Instance, bool]:
    """Order an instance, or join the line. False when this very request had made it before.

    Raises NoCapacity, UnknownGpu, UnknownImage, NameTaken, InsufficientBalance, IdempotencyConflict, Invalid.
    """
    caller.must(Scope.WRITE)
    if order.name is not None:
        check_name(order.name)
    labels = dict(check_labels(order.labels or {}))
    spec = capacity.resolve(yard, order.spec)
    offers = yard.offers.all
    now = yard.clock.now()

    def make(tx: Tx) -> tuple[Instance, bool]:
        if order.idempotency_key is not None:
            before = tx.idempotency.get(caller.account_id, order.idempotency_key)
            if before is not None:
                return _made_before(tx, before, order), False
        instance_id = new_instance_id()
        while tx.instances.by_short_id(short_id(instance_id)) is not None:
            instance_id = new_instance_id()
        instance = Instance(
            id=instance_id,
            short_id=short_id(instance_id),
            account_id=caller.account_id,
            created_by=caller.key_id,
            name=order.name or default_name(short_id(instance_id)),
            state=InstanceState.WAITING,
            entered_at=now,
            created_at=now,
            spec=spec,
            labels=labels,
            limits=order.limits,
            placement=order.placement,
            priority=order.priority,
            may_wait=order.wait,
        )
        placed, granted = capacity.decide(
            tx,
            instance,
            offers,
            wait=order.wait,
            allow_partial=order.allow_partial,
            line_is_busy=bool(yard.line_positions),
        )
        instance = replace(instance, spec=granted)
        gives_up_at = now + order.limits.max_start if order.limits.max_start is not None else None
        tx.instances.add(instance, wake_at=gives_up_at)
        note(tx, instance, "created", now, kind="instance.created")
        if isinstance(placed, Placed):
            instance = reserve(tx, instance, placed, now, currency=yard.currency)
        else:
            instance = replace(instance, state_reason=placed.text)
            tx.instances.save(instance)
        if order.idempotency_key is not None:
            tx.idempotency.put(
                caller.account_id, order.idempotency_key, digest=order.request_digest, made=instance.id, at=now
            )
        return instance, True

    instance, made = await yard.store.write(make)
    _tell(yard, instance)
    return instance, made


def _made_before(tx: Tx, before: tuple[str, str], order: CreateOrder) -> Instance:
    digest, made = before
    if digest != order.request_digest:
        raise IdempotencyConflict(
            f"the Idempotency-Key {order.idempotency_key!r} stands for another request",
            field="Idempotency-Key",
            hint="use a new key for a new request; repeat a request unchanged",
        )
    instance = tx.instances.get(InstanceId(made))
    if instance is None:
        raise NotFound(f"the instance made under this Idempotency-Key is gone: {made}")
    return instance


async def get(yard: Yard, caller: Caller, ref: str) -> Instance:
    """By id, short id or name. Raises NotFound also for what belongs to somebody else."""
    caller.must(Scope.READ)
    return await yard.store.read(lambda tx: find(tx, caller, ref))


def find(tx: Tx, caller: Caller, ref: str) -> Instance:
    """The instance `ref` means to this caller. Raises NotFound."""
    instance = tx.instances.find(caller.account_id, ref)
    if instance is None or not caller.may_see(instance.id):
        raise NotFound(f"there is no instance {ref!r}", hint="`gpuyard instances ls` lists yours")
    return instance


async def page(
    yard: Yard, caller: Caller, filter: InstanceFilter, *, limit: int = 100, cursor: str | None = None
) -> Page[Instance]:
    """Newest first. An instance key sees its own instance alone."""
    caller.must(Scope.READ)
    if caller.instance_id is not None:
        own = await yard.store.read(lambda tx: tx.instances.get(caller.instance_id) if caller.instance_id else None)
        return Page([own] if own is not None else [], None)
    return await yard.store.read(lambda tx: tx.instances.page(caller.account_id, filter, limit=limit, cursor=cursor))


async def change(yard: Yard, caller: Caller, ref: str, change: Change) -> Instance:
    """Rename, relabel, change limits or priority. Raises NameTaken, Invalid, NotFound."""
    caller.must(Scope.WRITE)
    if change.name is not None:
        check_name(change.name)
    if change.labels is not None:
        check_labels(change.labels)
    now = yard.clock.now()

    def write(tx: Tx) -> Instance:
        before = find(tx, caller, ref)
        if before.state in (InstanceState.DELETING, InstanceState.DELETED):
            raise IllegalMove(f"cannot change an instance that is {before.state}")
        after = replace(
            before,
            name=before.name if change.name is None else change.name,
            labels=before.labels if change.labels is None else dict(change.labels),
            limits=replace(before.limits, **change.limits),
            priority=before.priority if change.priority is None else change.priority,
        )
        if after.limits != before.limits:
            settle(tx, before, now)
        tx.instances.save(after)
        tx.instances.wake(after.id, now)
        note(tx, after, "changed", now, kind="instance.changed")
        return after

    instance = await yard.store.write(write)
    _tell(yard, instance)
    return instance


async def stop(yard: Yard, caller: Caller, ref: str) -> Instance:
    """Give the GPUs back and keep the disk; returns at once, in state `stopping`. Of what is stopped: no effect."""
    caller.must(Scope.WRITE)
    now = yard.clock.now()

    def write(tx: Tx) -> Instance:
        instance = find(tx, caller, ref)
        if instance.state in (InstanceState.STOPPING, InstanceState.STOPPED):
            return instance
        if not may_stop(instance):
            raise IllegalMove(
                f"cannot stop while the instance is {instance.state}",
                hint="delete it instead: it has no disk to keep yet",
                details={"state": str(instance.state)},
            )
        if not instance.has_disk:
            raise IllegalMove(
                f"the provider {instance.provider!r} cannot keep the disk of a stopped instance",
                hint="delete it instead, after downloading what you need",
            )
        return move(tx, instance, InstanceEvent.STOP, now=now, reason="stopped by its owner")

    instance = await yard.store.write(write)
    _tell(yard, instance)
    return instance


async def start(yard: Yard, caller: Caller, ref: str, *, wait: bool = False) -> Instance:
    """Bring a stopped instance back where its disk is. Of what runs or starts: no effect. Raises NoCapacity."""
    caller.must(Scope.WRITE)
    offers = yard.offers.all
    now = yard.clock.now()

    def write(tx: Tx) -> Instance:
        instance = find(tx, caller, ref)
        if instance.state in (InstanceState.STARTING, InstanceState.RUNNING):
            return instance
        if instance.state is not InstanceState.STOPPED:
            raise IllegalMove(
                f"cannot start while the instance is {instance.state}",
                hint="only a stopped instance starts again",
                details={"state": str(instance.state)},
            )
        instance = replace(instance, may_wait=wait)
        placed, _ = capacity.decide(tx, instance, offers, wait=wait, allow_partial=False)
        if isinstance(placed, Placed):
            return reserve(tx, instance, placed, now, currency=yard.currency)
        return move(tx, instance, InstanceEvent.START_LATER, now=now, reason=placed.text)

    instance = await yard.store.write(write)
    _tell(yard, instance)
    return instance


async def delete(yard: Yard, caller: Caller, ref: str) -> Instance:
    """End it and erase its disk; returns at once, in state `deleting`. Of what is deleted: no effect."""
    caller.must(Scope.WRITE)
    now = yard.clock.now()

    def write(tx: Tx) -> Instance:
        instance = find(tx, caller, ref)
        if instance.state in (InstanceState.DELETING, InstanceState.DELETED):
            return instance
        return move(tx, instance, InstanceEvent.DELETE, now=now, reason="deleted by its owner")

    instance = await yard.store.write(write)
    _tell(yard, instance)
    return instance


def _tell(yard: Yard, instance: Instance) -> None:
    yard.hints.events(instance.account_id).ring()
    if instance.state is InstanceState.WAITING:
        yard.hints.line.ring()
    else:
        yard.hints.wake(instance.id)
