"""The life of an instance, through both clients, on a real yard."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import pytest

from gpuyard.sdk import errors
from gpuyard.sdk.waiting import Progress
from tests.sdk.manners import open_client
from tests.yards import SOURCE, RunningYard


async def names(client: Any, **filters: Any) -> list[str]:
    return [instance.name async for instance in client.instances.list(**filters)]


async def test_an_instance_lives_stops_starts_and_ends(client: Any) -> None:
    seen: list[Progress] = []
    instance = await client.instances.create("rtx 3090", name="whole-life", labels={"team": "vision"}, max_cost="1.25")

    await instance.wait_until_running(60, on_progress=seen.append)
    assert (seen[-1].state, instance.state, instance.simulated) == ("running", "running", True)
    assert (instance.limits.max_cost_micro, instance.labels) == (1_250_000, {"team": "vision"})

    await instance.files.write("kept.txt", "still here")
    await instance.stop()
    await instance.wait_until("stopped", timeout=60)
    await instance.start()
    await instance.wait_until_running(60)
    assert await instance.files.read("kept.txt") == b"still here"

    await instance.delete()
    await instance.wait_until("deleted", timeout=60)
    await instance.delete()
    assert "whole-life" not in await names(client)


async def test_it_is_found_by_id_short_id_and_name(client: Any, instance: Any) -> None:
    for ref in (instance.id, instance.short_id, instance.name):
        assert (await client.instances.get(ref)).id == instance.id
    with pytest.raises(errors.NotFound):
        await client.instances.get("no-such-thing")


async def test_a_list_goes_over_all_its_pages(client: Any, manner: str) -> None:
    made = [await client.instances.create(labels={"series": f"pages-{manner}"}) for _ in range(3)]

    listed = await names(client, labels={"series": f"pages-{manner}"}, page_size=1)

    assert listed == [instance.name for instance in reversed(made)]
    assert await names(client, labels={"series": "none"}) == []
    assert await names(client, state="stopped") == []
    for instance in made:
        await instance.delete()


async def test_what_is_changed_is_changed_and_nothing_else(client: Any) -> None:
    instance = await client.instances.create(max_cost="1", max_idle=timedelta(hours=1), labels={"a": "1"})

    await instance.rename(f"renamed-{instance.short_id}")
    await instance.change(max_cost="2.5", lift=["max_idle"], priority=60)

    await instance.refresh()
    assert instance.name == f"renamed-{instance.short_id}"
    assert (instance.limits.max_cost_micro, instance.limits.max_idle_seconds) == (2_500_000, None)
    assert (instance.priority, instance.labels) == (60, {"a": "1"})
    await instance.delete()


async def test_the_same_key_is_the_same_instance(client: Any) -> None:
    once = await client.instances.create(idempotency_key=f"once-{id(client)}")
    again = await client.instances.create(idempotency_key=f"once-{id(client)}")

    assert once.id == again.id
    with pytest.raises(errors.IdempotencyConflict):
        await client.instances.create("rtx-4090", idempotency_key=f"once-{id(client)}")
    await once.delete()


async def test_without_room_it_says_which_gpus_are_missing(client: Any) -> None:
    async with client.instance("rtx-4090", start_timeout=60) as taken:
        with pytest.raises(errors.NoCapacity) as caught:
            await client.instances.create(gpus={"rtx-3090": 1, "rtx-4090": 1})
    await taken.wait_until("deleted", timeout=60)

    assert [row["type"] for row in caught.value.unavailable] == ["nvidia-rtx-4090"]
    assert "nvidia-rtx-3090" in [row["type"] for row in caught.value.available]


async def test_an_unknown_gpu_comes_with_the_nearest_names(client: Any) -> None:
    with pytest.raises(errors.UnknownGpu, match="nvidia-rtx-3090"):
        await client.instances.create("rtx-3091")


async def test_in_line_the_place_is_told_and_a_timeout_leaves_it_there(client: Any) -> None:
    seen: list[Progress] = []
    async with client.instance("rtx-4090", start_timeout=60):
        waiting = await client.instances.create("rtx-4090", wait=True)
        with pytest.raises(errors.TimedOut, match="still waiting"):
            await waiting.wait_until_running(0.05, on_progress=seen.append)

        assert (seen[-1].state, seen[-1].line_position) == ("waiting", 1)
        assert (await waiting.why()).line_position == 1

    await waiting.wait_until_running(60)
    await waiting.delete()
    await waiting.wait_until("deleted", timeout=60)


async def test_waiting_for_what_will_not_come_ends_at_once(client: Any) -> None:
    instance = await client.instances.create()
    await instance.delete()

    with pytest.raises(errors.InstanceFailed, match="delet"):
        await instance.wait_until_running()


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_lent_instance_is_given_back_however_the_block_ends(client: Any, end: type[BaseException]) -> None:
    with pytest.raises(end):
        async with client.instance(start_timeout=60) as instance:
            raise end

    await instance.wait_until("deleted", timeout=60)


async def test_a_lent_instance_is_given_back_when_the_wait_for_it_is_interrupted(client: Any, manner: str) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with client.instance(name=f"interrupted-{manner}", on_progress=interrupt):
            raise AssertionError("it must not get here")

    async for instance in client.instances.list(name=f"interrupted-{manner}", state="all"):
        assert instance.state in ("deleting", "deleted")


async def test_a_cancelled_task_gives_back_what_it_was_ordering(yard: RunningYard) -> None:
    async with open_client("async", yard.url, yard.key) as client:

        async def order() -> None:
            async with client.instance(name="cancelled-early"):
                await asyncio.Event().wait()

        for steps in range(0, 12, 3):
            task = asyncio.create_task(order())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert [
            instance.state async for instance in client.instances.list(name="cancelled-early", state="running")
        ] == []
        async for instance in client.instances.list(name="cancelled-early", state="all"):
            await instance.wait_until("deleted", timeout=60)


async def test_the_account_is_told_as_it_is(client: Any, instance: Any) -> None:
    me = await client.me()
    assert me.member.role == "owner"
    assert [offer.gpu_type for offer in await client.offers("rtx 3090")] == ["nvidia-rtx-3090"]
    assert "nvidia-h100-sxm" in {gpu.type for gpu in await client.gpus()} or len(await client.gpus()) > 10
    assert [provider.name for provider in await client.providers()] == ["local"]
    assert (await client.balance()).currency == me.currency
    assert instance.id in [one.instance_id for one in (await client.usage()).instances]
    assert (await instance.usage()).currency == me.currency
    assert [account.id async for account in client.accounts.list()] == [me.account.id]
    assert {entry.kind async for entry in client.ledger()} <= {"usage", "credit"}


async def test_a_key_is_made_used_and_revoked(client: Any, yard: RunningYard, manner: str) -> None:
    made = await client.keys.create("for a test", scopes=["read"], expires_in=timedelta(hours=1))

    async with open_client(manner, yard.url, made.secret) as reader:
        assert [str(scope) for scope in (await reader.me()).scopes] == ["read"]
        with pytest.raises(errors.Forbidden):
            await reader.instances.create()
        await client.keys.revoke(made.key.id)
        assert made.key.id in [key.id async for key in client.keys.list()]
    assert (await client.keys.get(made.key.id)).revoked_at is not None


async def test_members_come_and_go(client: Any) -> None:
    ada = await client.members.create("Ada", role="viewer")
    await client.members.change(ada.id, role="member")

    assert ("Ada", "member") in [(member.name, str(member.role)) async for member in client.members.list()]
    await client.members.delete(ada.id)
    assert ada.id not in [member.id async for member in client.members.list()]


async def test_accounts_are_made_and_paid_into(client: Any, yard: RunningYard, manner: str) -> None:
    made = await client.accounts.create("Lab", credit="10")

    assert (await client.accounts.add_credit(made.account.id, "5.5")).balance_micro == 5_500_000
    assert (await client.accounts.add_credit(made.account.id, "-0.5")).balance_micro == 5_000_000
    assert (await client.accounts.change(made.account.id, unlimited_credit=True)).credit_micro is None
    async with open_client(manner, yard.url, made.owner_key) as owner:
        assert (await owner.me()).account.id == made.account.id


async def test_events_are_told_in_order_from_where_one_was(client: Any) -> None:
    instance = await client.instances.create()
    await instance.wait_until_running(60)

    told = [event async for event in client.events(instance=instance.id, follow=False)]
    kinds = [event.kind for event in told]
    followed: list[str] = []
    async for event in client.events(after=told[0].seq, instance=instance.id):
        followed.append(event.kind)
        if event.kind == "instance.running":
            break

    assert kinds[-1] == "instance.running"
    assert followed == kinds[1:]
    assert sorted(event.seq for event in told) == [event.seq for event in told]
    await instance.delete()


PROGRAM = """
import sys
from gpuyard import Client

def told(progress):
    print(progress.state, flush=True)
    if progress.state == "running" or "--wait" in sys.argv:
        sys.stdin.readline()

with Client() as client, client.instance(name=sys.argv[1], on_progress=told):
    print("inside", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("moment", ["waiting", "inside"])
async def test_ctrl_c_gives_back_what_a_program_has(yard: RunningYard, moment: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "GPUYARD_URL": yard.url, "GPUYARD_API_KEY": yard.key}
    flags = ["--wait"] if moment == "waiting" else []
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, f"ctrl-c-{moment}", *flags),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdin is not None and program.stdout is not None
    if moment == "inside":
        program.stdin.write(b"\n")
    while (line := await program.stdout.readline()) and moment == "inside" and line != b"inside\n":
        pass

    program.send_signal(signal.SIGINT)
    _, trace = await program.communicate()

    assert b"KeyboardInterrupt" in trace
    async with open_client("async", yard.url, yard.key) as client:
        states = [one.state async for one in client.instances.list(name=f"ctrl-c-{moment}", state="all")]
    assert states and set(states) <= {"deleting", "deleted"}
