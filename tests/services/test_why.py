"""Where the time went, and that every change of state was told exactly once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpuyard.domain.events import Event
from gpuyard.domain.ids import AccountId
from gpuyard.domain.instances import INSTANCE_LIFECYCLE, InstanceEvent, InstanceState
from gpuyard.providers.fake import FakeSettings, Misbehaviour
from gpuyard.services import instances
from gpuyard.services.instances import Change
from gpuyard.services.why import timings_from, usage
from tests.domain.builders import NOW, an_instance
from tests.world import GPU, World

S = InstanceState
CREATED = NOW - timedelta(seconds=100)


def after(seconds: int, state: InstanceState) -> Event:
    return Event(AccountId("a"), "i", f"instance.{state}", CREATED + timedelta(seconds=seconds), {"state": str(state)})


@pytest.mark.parametrize(
    ("events", "wait", "start"),
    [
        ([], 100, None),
        ([(0, S.REQUESTED), (1, S.PROVISIONING), (5, S.RUNNING)], 0, 5),
        ([(30, S.REQUESTED), (35, S.RUNNING)], 30, 5),
        ([(30, S.REQUESTED), (35, S.PROVISIONING)], 30, 70),
        ([(10, S.REQUESTED), (13, S.WAITING), (20, S.REQUESTED), (24, S.RUNNING)], 17, 7),
        ([(10, S.REQUESTED), (13, S.WAITING)], 97, 3),
        ([(0, S.REQUESTED), (5, S.RUNNING), (9, S.RUNNING), (20, S.STOPPING), (22, S.STOPPED)], 0, 5),
        ([(0, S.REQUESTED), (5, S.RUNNING), (20, S.STOPPED), (50, S.STARTING), (52, S.RUNNING)], 0, 7),
        (
            [(0, S.REQUESTED), (5, S.RUNNING), (20, S.STOPPED), (50, S.WAITING), (60, S.STARTING), (61, S.RUNNING)],
            10,
            6,
        ),
        ([(0, S.REQUESTED), (5, S.RUNNING), (20, S.STOPPED), (50, S.STARTING), (58, S.STOPPING)], 0, 13),
        ([(40, S.FAILED)], 40, None),
        ([(40, S.DELETING), (41, S.DELETED)], 40, None),
        ([(10, S.REQUESTED), (14, S.FAILED), (50, S.DELETING), (51, S.DELETED)], 10, 4),
    ],
)
def test_the_phases_are_read_off_the_events(
    events: list[tuple[int, InstanceState]], wait: int, start: int | None
) -> None:
    instance = an_instance(S.WAITING, for_the_last=timedelta(seconds=100))

    found = timings_from(instance, [], [after(*event) for event in events], NOW)

    assert found.wait == timedelta(seconds=wait)
    assert found.start == (None if start is None else timedelta(seconds=start))


async def test_changes_by_the_thousand_hide_no_phase() -> None:
    async with World.made(FakeSettings(gpus={GPU: 1})) as world:
        instance = await world.create()
        for turn in range(1005):
            await instances.change(world.yard, world.owner, instance.id, Change(labels={"turn": str(turn)}))
        world.clock.forward(seconds=7)
        await world.settled(instance)

        assert (await usage(world.yard, world.owner, instance.id)).timings.start == timedelta(seconds=7)


async def test_every_change_of_state_is_told_once_and_in_order() -> None:
    async with World.made(FakeSettings(gpus={GPU: 1})) as world:
        holder = await world.running()
        instance = await world.create(wait=True)
        await world.serve_line()
        await instances.delete(world.yard, world.owner, holder.id)
        await world.settled(holder)
        world.provider.misbehave(Misbehaviour.LIE)
        await world.serve_line()
        await world.settled(instance)
        world.provider.misbehave(Misbehaviour.NONE)
        world.yard.offers.heard("fake", await world.provider.offers(), world.clock.now() + timedelta(minutes=1))
        await world.serve_line()
        await world.settled(instance)
        await instances.stop(world.yard, world.owner, instance.id)
        await world.settled(instance)
        await instances.start(world.yard, world.owner, instance.id)
        await world.settled(instance)
        world.provider.machines[instance.id].failed = "out of memory"
        await world.settled(instance)
        await instances.delete(world.yard, world.owner, instance.id)
        await world.settled(instance)

        events = await world.store.read(
            lambda tx: tx.events.after(instance.account_id, 0, limit=1000, subject=instance.id)
        )

        moves = [(event.data["event"], event.data["state"]) for event in events if event.data["event"] != "created"]
        state = S.WAITING
        for event, told in moves:
            state = INSTANCE_LIFECYCLE.next(state, InstanceEvent(event))
            assert state == told
        assert state is S.DELETED
        assert [told for _, told in moves] == [
            *("requested", "waiting", "requested", "provisioning", "running", "stopping", "stopped"),
            *("starting", "running", "stopping", "stopped", "deleting", "deleted"),
        ]
