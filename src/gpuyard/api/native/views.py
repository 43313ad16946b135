"""What of the domain the API shows, and how."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from gpuyard.api.asking import Ask
from gpuyard.domain.accounts import Account, Key, Member, Scope
from gpuyard.domain.events import Attempt, Event
from gpuyard.domain.executions import Execution
from gpuyard.domain.gpus import CPU
from gpuyard.domain.instances import ENDED, Instance, Limits, Placement
from gpuyard.domain.ledger import LedgerEntry, UsageInterval
from gpuyard.services.money import Balance
from gpuyard.services.offers import Available
from gpuyard.services.why import InstanceUsage, Why
from gpuyard.services.yard import Yard
from gpuyard.wire import accounts as account_shapes
from gpuyard.wire import executions as execution_shapes
from gpuyard.wire import instances as shapes
from gpuyard.wire import yard as yard_shapes


def instance(ask: Ask, it: Instance) -> shapes.InstanceView:
    """Environment and password only for who may run code there: both may hold secrets."""
    may_run = ask.may(Scope.RUN)
    spec = it.spec
    return shapes.InstanceView(
        id=it.id,
        short_id=it.short_id,
        name=it.name,
        state=it.state,
        state_reason=it.state_reason,
        entered_at=it.entered_at,
        gpus=_gpus(ask.yard, it),
        vcpus=spec.vcpus,
        ram_gb=spec.ram_gb,
        disk_gb=spec.disk_gb,
        image=spec.image,
        env=dict(spec.env) if may_run else {},
        ports=list(spec.ports),
        labels=dict(it.labels),
        limits=_limits(it.limits),
        placement=_placement(it.placement),
        priority=it.priority,
        provider=it.provider,
        region=it.region,
        simulated=it.simulated,
        price_per_hour_micro=it.price_per_hour_micro,
        currency=ask.yard.currency,
        created_at=it.created_at,
        running_at=it.running_at,
        line_position=ask.yard.line_positions.get(it.id),
        url_path=f"/i/{it.short_id}/",
        app_password=ask.yard.secret.app_password(it.id) if may_run and it.state not in ENDED else None,
    )


def _gpus(yard: Yard, it: Instance) -> list[shapes.GpuView]:
    views = []
    for request in it.spec.gpus:
        if request.type == CPU:
            continue
        gpu = yard.catalogue.gpus.get(request.type)
        name, memory = (gpu.name, gpu.memory_gb) if gpu else (request.type, 0)
        views.append(shapes.GpuView(type=request.type, name=name, memory_gb=memory, count=request.count))
    return views


def _limits(limits: Limits) -> shapes.LimitsView:
    return shapes.LimitsView(
        max_cost_micro=limits.max_cost_micro,
        max_duration_seconds=_seconds(limits.max_duration),
        max_idle_seconds=_seconds(limits.max_idle),
        max_start_seconds=_seconds(limits.max_start),
    )


def _placement(placement: Placement) -> shapes.PlacementView:
    return shapes.PlacementView(
        providers=list(placement.providers),
        regions=list(placement.regions),
        max_price_per_hour_micro=placement.max_price_per_hour_micro,
    )


def why(told: Why) -> shapes.WhyView:
    position = told.line_position
    return shapes.WhyView(
        state=told.instance.state,
        reason=told.instance.state_reason,
        line_position=position,
        ahead=None if position is None else position - 1,
        attempts=[_attempt(attempt) for attempt in told.attempts],
    )


def _attempt(attempt: Attempt) -> shapes.AttemptView:
    return shapes.AttemptView(
        number=attempt.number,
        first_at=attempt.first_at,
        last_at=attempt.last_at,
        times=attempt.times,
        outcome=attempt.outcome,
        reason=attempt.reason,
    )


def instance_usage(ask: Ask, used: InstanceUsage) -> shapes.InstanceUsage:
    timings = used.timings
    return shapes.InstanceUsage(
        instance_id=used.instance.id,
        seconds=timings.run.total_seconds(),
        cost_micro=used.cost_micro,
        currency=ask.yard.currency,
        timings={
            "wait": _seconds(timings.wait),
            "start": _seconds(timings.start),
            "run": _seconds(timings.run),
        },
        intervals=[_interval(interval, used.now) for interval in used.intervals],
    )


def _interval(interval: UsageInterval, now: datetime) -> shapes.UsageInterval:
    return shapes.UsageInterval(
        instance_id=interval.instance_id,
        started_at=interval.started_at,
        ended_at=interval.ended_at,
        seconds=interval.lasted_until(now).total_seconds(),
        price_per_hour_micro=interval.price_per_hour_micro,
        cost_micro=interval.cost_until(now),
    )


def execution(it: Execution) -> execution_shapes.ExecutionView:
    return execution_shapes.ExecutionView(
        id=it.id,
        instance_id=it.instance_id,
        kind=it.kind,
        state=it.state,
        name=it.name,
        detached=it.detached,
        created_at=it.created_at,
        started_at=it.started_at,
        ended_at=it.ended_at,
        exit_code=it.exit_code,
        reason=it.reason,
        result=it.result,
        output_bytes=it.output_bytes,
    )


def account(ask: Ask, balance: Balance) -> account_shapes.AccountView:
    it: Account = balance.account
    return account_shapes.AccountView(
        id=it.id,
        name=it.name,
        created_at=it.created_at,
        operates_yard=it.operates_yard,
        balance_micro=balance.balance_micro,
        held_micro=balance.held_micro,
        credit_micro=it.credit_micro,
        currency=ask.yard.currency,
    )


def member(it: Member) -> account_shapes.MemberView:
    return account_shapes.MemberView(id=it.id, name=it.name, role=it.role, created_at=it.created_at)


def key(it: Key) -> account_shapes.KeyView:
    return account_shapes.KeyView(
        id=it.id,
        name=it.name,
        hint=it.hint,
        scopes=in_order(it.scopes),
        member_id=it.member_id,
        instance_id=it.instance_id,
        created_at=it.created_at,
        expires_at=it.expires_at,
        last_used_at=it.last_used_at,
        revoked_at=it.revoked_at,
    )


def in_order(scopes: Iterable[Scope]) -> list[Scope]:
    """Always the same order, so that two answers can be compared."""
    have = set(scopes)
    return [scope for scope in Scope if scope in have]


def offer(ask: Ask, available: Available) -> yard_shapes.OfferView:
    it = available.offer
    return yard_shapes.OfferView(
        id=it.id,
        provider=it.provider,
        region=it.region,
        gpu_type=it.gpu_type,
        gpu_name=it.gpu_name,
        gpu_memory_gb=it.gpu_memory_gb,
        price_per_hour_micro=it.price_per_hour_micro,
        currency=ask.yard.currency,
        available=available.free,
        total=it.total,
        simulated=it.simulated,
        vcpus_max=it.vcpus_max,
        ram_gb_max=it.ram_gb_max,
        disk_gb_max=it.disk_gb_max,
        images=None if it.images is None else sorted(it.images),
    )


def balance(ask: Ask, it: Balance) -> yard_shapes.BalanceView:
    return yard_shapes.BalanceView(
        balance_micro=it.balance_micro,
        held_micro=it.held_micro,
        credit_micro=it.account.credit_micro,
        running_per_hour_micro=it.running_per_hour_micro,
        currency=ask.yard.currency,
    )


def ledger_entry(it: LedgerEntry) -> yard_shapes.LedgerEntryView:
    return yard_shapes.LedgerEntryView(
        kind=it.kind, amount_micro=it.amount_micro, at=it.at, instance_id=it.instance_id, reason=it.reason
    )


def event(it: Event) -> yard_shapes.EventView:
    return yard_shapes.EventView(seq=it.seq, subject=it.subject, kind=it.kind, at=it.at, data=dict(it.data))


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()
