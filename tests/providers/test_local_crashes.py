"""A server that is killed at any instant loses no instance, oversells no card and leaves no process without an owner."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gpuyard.domain.errors import ProviderUnavailable
from gpuyard.domain.instances import GpuRequest
from gpuyard.domain.sightings import Presence
from gpuyard.ports.provider import Order
from gpuyard.providers.local import processes
from gpuyard.providers.local.disk import Disk, Wanted
from gpuyard.providers.local.provider import LocalProvider
from tests.contract.provider import World
from tests.providers.yard_of_one import ORDER

P = Presence
Worlds = Callable[..., World]
ROUNDS = 8


class Server:
    """The provider in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, verb: str, order: Order) -> str:
        """What it answered; empty when it was killed before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = f'{{"verb": "{verb}", "order": {ORDER.dump_json(order).decode()}}}\n'
        try:
            self._process.stdin.write(line.encode())
            await self._process.stdin.drain()
        except ConnectionError:
            return ""
        return (await self._process.stdout.readline()).decode().strip()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def a_server(data_dir: Path, sandbox: str, pool: int) -> AsyncIterator[Server]:
    program = Path(__file__).with_name("yard_of_one.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), str(data_dir), sandbox, str(pool)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    server = Server(process)
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"open"
        yield server
    finally:
        await server.kill()


def owned(data_dir: Path) -> set[str]:
    return {place.slot for _, place in Disk(data_dir).admitted()}


def slots_of(data_dir: Path) -> set[str]:
    """Slots of this data directory that have a process."""
    known = {path.name for path in (data_dir / "machines").iterdir()}
    return known & set(processes.slots_in_use())


def check_cards(data_dir: Path) -> None:
    records = [place.read_record() for _, place in Disk(data_dir).admitted()]
    cards = [gpu.index for record in records if record is not None for gpu in record.gpus]
    assert len(cards) == len(set(cards)), "a card is in two instances"


@pytest.mark.parametrize(("sandbox", "pool"), [("bwrap", 1), ("none", 1), ("bwrap", 0)])
async def test_a_server_killed_at_any_instant_loses_nothing(
    local_world: Worlds, tmp_path: Path, sandbox: str, pool: int
) -> None:
    world = local_world(sandbox=sandbox, warm_pool=pool)
    await world.provider()
    orders = [await world.an_order(GpuRequest("nvidia-rtx-3090")) for _ in range(3 * ROUNDS)]
    await (await world.provider()).close()
    world._open = None
    chance = random.Random(20261120)
    accepted: set[str] = set()
    released: set[str] = set()

    for _ in range(ROUNDS):
        async with a_server(tmp_path / "yard", sandbox, pool) as server:
            live = [order for order in orders if order.instance_id not in released][:3]  # for two cards
            live += [order for order in orders if order.instance_id in released][-1:]
            killing = asyncio.create_task(_kill_after(server, chance.uniform(0, 0.5)))
            while not killing.done():
                order = chance.choice(live)
                verb = chance.choice(["order", "order", "stop", "start", "release"])
                if order.instance_id in released:  # a yard never orders again what it began to release
                    verb = "release"
                elif order.instance_id not in accepted:
                    verb = "order"
                if verb == "release":
                    released.add(order.instance_id)
                if await server.ask(verb, order) == "accepted":
                    accepted.add(order.instance_id)
                await asyncio.sleep(chance.uniform(0, 0.1))
            await killing
        check_cards(tmp_path / "yard")

    provider = await world.provider()
    for order in orders:
        if order.instance_id in released:
            await provider.release(order.instance_id)
            await world.seen(order.instance_id, P.ABSENT)
        elif order.instance_id in accepted:
            await world.seen(order.instance_id, P.RUNNING, P.STOPPED)
    check_cards(tmp_path / "yard")
    assert await world.free("nvidia-rtx-3090") == 2 - _in_use(tmp_path / "yard")
    await world.restart()
    async with asyncio.timeout(20):
        while not slots_of(tmp_path / "yard") <= owned(tmp_path / "yard") | _warm(await world.provider()):
            await asyncio.sleep(0.02)


def _warm(provider: object) -> set[str]:
    assert isinstance(provider, LocalProvider)
    return {spare.place.slot for spare in provider._pool._spares}


async def _kill_after(server: Server, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await server.kill()


def _in_use(data_dir: Path) -> int:
    records = [place.read_record() for _, place in Disk(data_dir).admitted()]
    return sum(len(record.gpus) for record in records if record is not None and record.wanted is not Wanted.GONE)


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
@pytest.mark.parametrize("grown_to", ["its first process", "its resident", "its socket"])
async def test_a_warm_resident_goes_with_its_server(tmp_path: Path, sandbox: str, grown_to: str) -> None:
    """At whichever moment the server is killed. Waits for the very processes there are: how long a busy machine takes
    to start an interpreter is no part of the promise, that every one of them ends is."""
    async with a_server(tmp_path / "yard", sandbox, 1) as server:
        while not (slots := slots_of(tmp_path / "yard")):
            await asyncio.sleep(0.001)
        place = Disk(tmp_path / "yard").place(next(iter(slots)))
        while grown_to == "its resident" and place.read_running() is None:
            await asyncio.sleep(0.001)
        while grown_to == "its socket" and not (tmp_path / "yard" / "run" / place.slot / "s").exists():
            await asyncio.sleep(0.001)

        await server.kill()

    while left := [process for found in map(processes.slots_in_use().get, slots) for process in found or ()]:
        await asyncio.gather(*map(_ended, left))
    assert not slots_of(tmp_path / "yard")


async def _ended(process: processes.Identity) -> None:
    """Told by the kernel, not asked again and again."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, told.set)
    try:
        if processes.alive(process):
            await told.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_instances_outlive_a_killed_server_and_are_taken_over(local_world: Worlds, tmp_path: Path) -> None:
    world = local_world(sandbox="bwrap")
    await world.provider()
    order = await world.an_order()
    await (await world.provider()).close()
    world._open = None
    async with a_server(tmp_path / "yard", "bwrap", 0) as server:
        assert await server.ask("order", order) == "accepted"
        async with asyncio.timeout(30):
            while not (processes_of := processes.slots_in_use().get(_slot(tmp_path, order), [])):
                await asyncio.sleep(0.02)
            while (running := Disk(tmp_path / "yard").place(_slot(tmp_path, order)).read_running()) is None:
                await asyncio.sleep(0.02)
        await server.kill()
    assert processes_of

    await world.seen(order.instance_id, P.RUNNING)

    assert processes.alive(running.watched), "it was taken over, not started anew"


async def test_a_second_server_on_the_same_directory_is_refused(local_world: Worlds, tmp_path: Path) -> None:
    world = local_world()
    await world.provider()
    second = world.make()

    with pytest.raises(ProviderUnavailable, match="another process"):
        await second.open()


async def test_a_damaged_record_is_a_failed_instance_that_can_be_released(local_world: Worlds, tmp_path: Path) -> None:
    world = local_world(sandbox="bwrap")
    order = await world.running()
    slot = _slot(tmp_path, order)
    await (await world.provider()).close()
    (tmp_path / "yard" / "machines" / slot / "instance.json").write_text("{")
    world._open = None

    provider = await world.provider()

    assert (await provider.sight(order.instance_id)).presence is P.FAILED
    await provider.release(order.instance_id)
    await world.seen(order.instance_id, P.ABSENT)
    assert slot not in processes.slots_in_use()


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
async def test_processes_of_a_directory_that_was_removed_by_hand_are_ended(
    local_world: Worlds, tmp_path: Path, sandbox: str
) -> None:
    world = local_world(sandbox=sandbox)
    order = await world.running()
    slot = _slot(tmp_path, order)
    await (await world.provider()).close()
    world._open = None
    shutil.rmtree(tmp_path / "yard" / "machines" / slot)

    provider = await world.provider()

    assert (await provider.sight(order.instance_id)).presence is P.ABSENT
    assert slot not in processes.slots_in_use()
    assert await world.free("nvidia-rtx-3090") == 2


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
@pytest.mark.parametrize("victim", ["watched", "inside"])
async def test_a_resident_killed_by_hand_is_a_failed_machine_whose_files_are_kept(
    local_world: Worlds, tmp_path: Path, sandbox: str, victim: str
) -> None:
    world = local_world(sandbox=sandbox)
    provider = await world.provider()
    order = await world.an_order()
    await provider.order(order)
    await world.seen(order.instance_id, P.RUNNING)
    slot = _slot(tmp_path, order)
    place = Disk(tmp_path / "yard").place(slot)
    (place.workspace / "kept.txt").write_text("here")
    running = place.read_running()
    assert running is not None
    processes.end((running.init if victim == "inside" else None) or running.watched)

    async with asyncio.timeout(30):
        while (found := await provider.sight(order.instance_id)).presence is not P.FAILED:
            await asyncio.sleep(0.01)
        while slot in processes.slots_in_use():
            await asyncio.sleep(0.01)
    await provider.stop(order.instance_id)
    await world.seen(order.instance_id, P.STOPPED)

    assert "ended by itself" in found.reason
    assert (place.workspace / "kept.txt").read_text() == "here"
    assert await world.free("nvidia-rtx-3090") == 2


async def test_a_pid_that_means_another_process_now_is_neither_adopted_nor_killed(
    local_world: Worlds, tmp_path: Path
) -> None:
    world = local_world(sandbox="none")
    order = await world.running()
    place = Disk(tmp_path / "yard").place(_slot(tmp_path, order))
    await (await world.provider()).close()
    world._open = None
    running = place.read_running()
    assert running is not None
    processes.end_tree(running.watched)
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        place.write_running(replace(running, watched=replace(running.watched, pid=bystander.pid)))

        found = await (await world.provider()).sight(order.instance_id)

        assert found.presence is P.FAILED
        assert bystander.returncode is None
        assert processes.identify(bystander.pid) is not None
    finally:
        bystander.kill()
        await bystander.wait()


async def test_after_a_reboot_an_instance_has_ended_and_its_files_are_kept(local_world: Worlds, tmp_path: Path) -> None:
    world = local_world(sandbox="none")
    order = await world.running()
    place = Disk(tmp_path / "yard").place(_slot(tmp_path, order))
    (place.workspace / "kept.txt").write_text("here")
    await (await world.provider()).close()
    world._open = None
    running = place.read_running()
    assert running is not None
    processes.end_tree(running.watched)
    place.write_running(replace(running, watched=replace(running.watched, boot="an earlier boot")))

    provider = await world.provider()
    found = await provider.sight(order.instance_id)
    await provider.stop(order.instance_id)
    await world.seen(order.instance_id, P.STOPPED)

    assert (found.presence, found.reason) == (P.FAILED, "this computer was restarted")
    assert (place.workspace / "kept.txt").read_text() == "here"


def _slot(tmp_path: Path, order: Order) -> str:
    return (tmp_path / "yard" / "instances" / order.instance_id).readlink().name
