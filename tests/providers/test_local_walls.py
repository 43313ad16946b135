"""What an instance of the local provider can see and touch, and that ending it ends everything of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import GpuRequest
from gpuyard.domain.sightings import Presence
from gpuyard.ports.provider import Order
from gpuyard.providers.local.provider import LocalProvider
from tests.contract.provider import World

P = Presence
Worlds = Callable[..., World]


async def shell(world: World, instance_id: InstanceId, command: str, name: str = "look") -> str:
    """What the command wrote, to both streams."""
    async with world.inside(instance_id) as resident:
        assert resident is not None
        started = await resident.put(f"/executions/{name}", json={"kind": "shell", "code": command})
        started.raise_for_status()
        journal = await resident.get(f"/executions/{name}/journal", params={"follow": "true"})
    records = [json.loads(line) for line in journal.text.splitlines()]
    return "".join(record.get("d", "") for record in records)


async def running(world: World, *gpus: GpuRequest) -> Order:
    order = await world.an_order(*gpus)
    await (await world.provider()).order(order)
    await world.seen(order.instance_id, P.RUNNING)
    return order


def processes_with(text: str) -> list[int]:
    """Every process of this machine with the text on its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def until_no_process_with(text: str) -> None:
    async with asyncio.timeout(20):
        while processes_with(text):
            await asyncio.sleep(0.02)


@pytest.fixture(params=["bwrap", "none"])
def any_world(request: pytest.FixtureRequest, local_world: Worlds) -> World:
    return local_world(sandbox=request.param)


async def test_a_sandboxed_program_sees_nothing_of_this_machine(local_world: Worlds, tmp_path: Path) -> None:
    world = local_world(sandbox="bwrap")
    secret = tmp_path / "secret-of-the-owner"
    secret.write_text("do not tell")
    first, second = await running(world), await running(world)
    await shell(world, first.instance_id, "echo mine > /workspace/mine; echo mine > /tmp/mine")

    seen = await shell(
        world,
        second.instance_id,
        f"exec 2>/dev/null; cat {secret}; ls {tmp_path}; cat /etc/shadow; ls /workspace /tmp; ls -d /home/* /roo[t]/.[a-z]*; ps -e -o args",
    )

    assert "do not tell" not in seen
    assert str(tmp_path / "yard") not in seen
    assert "mine" not in seen
    assert first.instance_id not in seen
    assert "pytest" not in seen


async def test_a_sandboxed_program_cannot_write_outside_of_its_own(local_world: Worlds) -> None:
    world = local_world(sandbox="bwrap")
    order = await running(world)

    said = await shell(
        world,
        order.instance_id,
        "for d in / /usr /etc /opt /usr/local; do touch $d/x 2>/dev/null && echo wrote $d; done; "
        "for d in /workspace /tmp /home/coder; do touch $d/x && echo may $d; done",
    )

    assert said.split("\n")[:-1] == ["may /workspace", "may /tmp", "may /home/coder"]


async def test_no_program_in_a_sandbox_can_set_the_kernel_of_this_machine(local_world: Worlds) -> None:
    """Where a yard is run by root, files of root are the program's own; opening them changes nothing yet."""
    world = local_world(sandbox="bwrap")
    order = await running(world)

    said = await shell(
        world,
        order.instance_id,
        "find /proc -type f -path '/proc/[!0-9]*' -not -path '/proc/self/*' -not -path '/proc/thread-self/*' "
        "-exec bash -c 'for file; do (: >> $file) 2>/dev/null && echo open $file; done' _ {} + 2>/dev/null; echo done",
    )

    assert said == "done\n"


async def test_a_program_cannot_read_the_residents_memory_or_environment(local_world: Worlds) -> None:
    world = local_world(sandbox="bwrap")
    order = await running(world)

    said = await shell(world, order.instance_id, "cat /proc/$PPID/environ; cat /proc/$PPID/fd/*; true")

    assert order.resident_secret not in said
    assert said.count("Permission denied") >= 2


async def test_a_program_finds_its_cards_and_itself(any_world: World) -> None:
    order = await running(any_world, GpuRequest("nvidia-rtx-3090", 2), GpuRequest("nvidia-rtx-4090"))

    said = await shell(any_world, order.instance_id, "echo $CUDA_VISIBLE_DEVICES; echo $GPUYARD_GPUS; nvidia-smi -L")

    lines = said.splitlines()
    assert lines[0] == "0,1,4"
    assert lines[1] == "nvidia-rtx-3090:2,nvidia-rtx-4090:1"
    assert len(lines) == 5


async def test_no_card_is_ever_in_two_instances(any_world: World) -> None:
    first = await running(any_world, GpuRequest("nvidia-rtx-3090"))
    second = await running(any_world, GpuRequest("nvidia-rtx-3090"))

    cards = [await shell(any_world, o.instance_id, "echo $CUDA_VISIBLE_DEVICES") for o in (first, second)]

    assert sorted(cards) == ["0\n", "1\n"]


async def test_a_released_instance_leaves_no_process_whatever_it_did(any_world: World, tmp_path: Path) -> None:
    provider = await any_world.provider()
    order = await running(any_world)
    await shell(
        any_world,
        order.instance_id,
        f"exec -a escaped-{tmp_path.name} setsid sh -c 'trap \"\" TERM HUP INT; (sleep 1000 & wait) & wait' "
        f">/dev/null 2>&1 </dev/null & \n"
        f"( setsid bash -c 'exec -a escaped-{tmp_path.name} sleep 1001' >/dev/null 2>&1 </dev/null & )\n sleep 0.2",
    )
    assert processes_with(f"escaped-{tmp_path.name}")

    await provider.release(order.instance_id)

    await any_world.seen(order.instance_id, P.ABSENT)
    assert processes_with(f"escaped-{tmp_path.name}") == []


async def test_an_instance_whose_resident_was_killed_has_failed_and_leaves_no_process(
    any_world: World, tmp_path: Path
) -> None:
    order = await running(any_world)
    await shell(
        any_world,
        order.instance_id,
        f"( setsid bash -c 'exec -a orphan-{tmp_path.name} sleep 1002' >/dev/null 2>&1 </dev/null & ) ; sleep 0.2",
    )
    assert processes_with(f"orphan-{tmp_path.name}")
    slot = os.readlink(tmp_path / "yard" / "instances" / order.instance_id).rpartition("/")[2]

    for pid in processes_with(f"gpuyard-slot={slot}"):
        if b"bwrap" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, 9)

    sighting = await any_world.seen(order.instance_id, P.FAILED)
    assert "ended by itself" in sighting.reason
    await until_no_process_with(f"orphan-{tmp_path.name}")


async def test_a_resident_that_cannot_start_fails_with_what_it_said(local_world: Worlds, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no interpreter today >&2\nexit 3\n")
    broken.chmod(0o755)
    world = local_world(sandbox="none", python=str(broken))
    order = await world.an_order()
    await (await world.provider()).order(order)

    sighting = await world.seen(order.instance_id, P.FAILED)

    assert "no interpreter today" in sighting.reason


async def test_what_a_program_made_unreadable_is_erased_too(any_world: World, tmp_path: Path) -> None:
    order = await running(any_world)
    await shell(
        any_world,
        order.instance_id,
        "mkdir -p a/b/c; touch a/b/c/d; ln -s /etc out; chmod 0 a/b/c a/b a; "
        'python -c \'import os\nfor i in range(1500): os.mkdir("n"); os.chdir("n")\'',
    )

    await (await any_world.provider()).release(order.instance_id)

    await any_world.seen(order.instance_id, P.ABSENT)
    async with asyncio.timeout(20):
        while any(any((tmp_path / "yard" / part).iterdir()) for part in ("machines", "instances", "trash", "run")):
            await asyncio.sleep(0.02)
    assert Path("/etc/passwd").exists()


async def test_a_stopped_instance_keeps_its_files_but_not_its_tmp(any_world: World) -> None:
    provider = await any_world.provider()
    assert isinstance(provider, LocalProvider)
    order = await running(any_world)
    await shell(any_world, order.instance_id, "echo 1 > kept; echo 1 > ~/kept; echo 1 > $TMPDIR/t")

    await provider.stop(order.instance_id)
    await any_world.seen(order.instance_id, P.STOPPED)
    await provider.start(order)
    await any_world.seen(order.instance_id, P.RUNNING)

    said = await shell(
        any_world, order.instance_id, "cat ~/workspace/kept ~/kept; ls $TMPDIR | grep -x t", name="again"
    )
    assert said.split() == ["1", "1"]
