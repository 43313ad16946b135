"""The line: who is served, who is passed over, and that a long one leaves room for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gpuyard.domain.errors import NoCapacity
from gpuyard.domain.instances import GpuRequest, InstanceSpec, InstanceState
from gpuyard.providers.fake import FakeSettings, Misbehaviour
from gpuyard.services import accounts, instances, line, money
from gpuyard.services.authentication import authenticate
from gpuyard.services.instances import CreateOrder
from tests.world import GPU, World

S = InstanceState


async def test_one_who_cannot_pay_does_not_hold_up_those_behind() -> None:
    async with World.made(FakeSettings(gpus={GPU: 1})) as world:
        holder = await world.running()
        poor, key = await accounts.create(world.yard, world.owner, "poor", "ann", 0)
        order = CreateOrder(spec=InstanceSpec(gpus=(GpuRequest(GPU),)), wait=True)
        first, _ = await instances.create(world.yard, await authenticate(world.yard, key), order)
        second = await world.create(wait=True)
        await instances.delete(world.yard, world.owner, holder.id)
        await world.settled(holder)

        await world.serve_line()

        passed = await world.now(first)
        assert (passed.state, (await world.now(second)).state) == (S.WAITING, S.REQUESTED)
        assert "money" in passed.state_reason

        await instances.delete(world.yard, world.owner, second.id)
        await world.settled(second)
        await money.credit(world.yard, world.owner, poor.id, 10_000_000, "at last", "k")
        await world.serve_line()
        assert (await world.now(first)).state is S.REQUESTED


async def test_a_provider_that_just_had_no_room_may_be_waited_for() -> None:
    async with World.made() as world:
        world.provider.misbehave(Misbehaviour.LIE)
        await world.settled(await world.create())

        waiting = await world.create(wait=True)

        assert waiting.state is S.WAITING
        with pytest.raises(NoCapacity):
            await world.create()


async def test_a_long_line_is_told_its_reasons_in_many_short_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World.made(FakeSettings(gpus={GPU: 1})) as world:
        await world.running()
        for _ in range(3 * line.NOTES_AT_ONCE):
            await world.create(wait=True)
        changed: list[int] = []
        write = world.store.write

        async def counting(fn: Callable[[Any], Any]) -> Any:
            before = len(told)
            result = await write(lambda tx: fn(_Counting(tx, told)))
            changed.append(len(told) - before)
            return result

        told: list[str] = []
        monkeypatch.setattr(world.store, "write", counting)

        await world.serve_line()

        assert sum(changed) == 3 * line.NOTES_AT_ONCE
        assert max(changed) <= line.NOTES_AT_ONCE


class _Counting:
    """A transaction that remembers who was told something."""

    def __init__(self, tx: Any, told: list[str]) -> None:
        self._tx = tx
        self._told = told

    def __getattr__(self, name: str) -> Any:
        if name == "attempts":
            return self
        return getattr(self._tx, name)

    def note(self, instance_id: str, **rest: Any) -> None:
        self._told.append(instance_id)
        self._tx.attempts.note(instance_id, **rest)
