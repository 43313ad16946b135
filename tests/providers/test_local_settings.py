"""What an owner may write about the local provider, what it makes of it, and which limits it sets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import Invalid, UnknownGpu
from gpuyard.providers.local.cards import find_cards, gpu_named
from gpuyard.providers.local.limits import Affinity, Cgroups, find_limits
from gpuyard.providers.local.processes import identify
from gpuyard.providers.local.provider import LocalProvider
from gpuyard.providers.local.settings import parse
from gpuyard.providers.local.stock import Stock

CATALOGUE = load_catalogue()
MACHINE_GB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9


def test_simulated_cards_can_be_written_as_text_or_table() -> None:
    as_text = parse({"data_dir": "/y", "simulate": "rtx 3090=2, nvidia-t4"}, CATALOGUE)
    as_table = parse({"data_dir": "/y", "simulate": {"RTX 3090": 2, "T4": 1}}, CATALOGUE)

    assert as_text.simulate == as_table.simulate == {"nvidia-rtx-3090": 2, "nvidia-t4": 1}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({}, "data_dir"),
        ({"data_dir": "/y", "simulated": {}}, "simulated"),
        ({"data_dir": "/y", "simulate": "rtx 3090=two"}, "simulate"),
        ({"data_dir": "/y", "simulate": {"rtx 3090": -1}}, "simulate"),
        ({"data_dir": "/y", "sandbox": "docker"}, "sandbox"),
        ({"data_dir": "/y", "warm_pool": -1}, "warm_pool"),
        ({"data_dir": "/y", "prices": {"rtx 3090": -1}}, "prices.rtx 3090"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse(settings, CATALOGUE)

    assert refusal.value.field == f"providers.local.{field}"
    assert refusal.value.hint


def test_an_unknown_card_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownGpu) as refusal:
        parse({"data_dir": "/y", "simulate": "rtx 3091"}, CATALOGUE)

    assert "nvidia-rtx-3090" in refusal.value.details["nearest"]


def test_every_simulated_card_says_so_and_is_told_from_the_others() -> None:
    cards = find_cards({"nvidia-rtx-3090": 2, "nvidia-t4": 1}, CATALOGUE)

    assert [card.index for card in cards] == [0, 1, 2]
    assert len({card.uuid for card in cards}) == 3
    assert all(card.simulated for card in cards)


def test_a_card_nobody_wrote_down_is_still_a_card() -> None:
    gpu = gpu_named("NVIDIA Thing 9000", 50_000, CATALOGUE)

    assert (gpu.slug, gpu.memory_gb) == ("nvidia-thing-9000", 49)


async def test_offers_have_the_owners_prices(a_local: Callable[..., LocalProvider]) -> None:
    provider = a_local(simulate={"nvidia-t4": 1}, prices={"nvidia-t4": 1, "cpu": 2})
    await provider.open()

    prices = {offer.gpu_type: offer.price_per_hour_micro for offer in await provider.offers()}

    await provider.close()
    assert prices == {"nvidia-t4": 1, "cpu": 2}


@pytest.mark.parametrize(
    ("cards_are_simulated", "settings", "caps"),
    [
        (True, {}, (max(os.cpu_count() or 1, 64), max(MACHINE_GB, 256))),
        (False, {}, (max(os.cpu_count() or 1, 2), max(MACHINE_GB, 4))),
        (True, {"vcpus_max": 3, "ram_gb_max": 5}, (3, 5)),
        (False, {"vcpus_max": 3000, "ram_gb_max": 5000}, (3000, 5000)),
    ],
)
def test_an_instance_may_ask_for_what_is_there_and_for_more_where_it_is_only_tried(
    tmp_path: Path, cards_are_simulated: bool, settings: dict[str, int], caps: tuple[int, int]
) -> None:
    [card] = find_cards({"nvidia-t4": 1}, CATALOGUE)
    parsed = parse({"data_dir": tmp_path, **settings}, CATALOGUE)

    offers = Stock(parsed, [replace(card, simulated=cards_are_simulated)], lambda: ()).offers()

    assert {(offer.vcpus_max, offer.ram_gb_max) for offer in offers} == {caps}


def test_without_a_delegated_control_group_the_owner_is_warned(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/\n")

    limits = find_limits(tmp_path, tmp_path / "membership")

    assert isinstance(limits, Affinity)
    assert "memory" in limits.warnings[0]


def test_a_delegated_control_group_gets_one_group_per_instance(tmp_path: Path) -> None:
    base = tmp_path / "user.slice"
    base.mkdir()
    (base / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "membership").write_text("0::/user.slice\n")
    limits = find_limits(tmp_path, tmp_path / "membership")
    assert isinstance(limits, Cgroups)
    ourselves = identify(os.getpid())
    assert ourselves is not None

    limits.confine("abc", ourselves, vcpus=2, ram_gb=4)

    group = base / "gpuyard-abc"
    assert (group / "cpu.max").read_text() == "200000 100000"
    assert (group / "memory.max").read_text() == str(4 * 2**30)
    assert (base / "cgroup.subtree_control").read_text() == "+cpu +memory"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_instances_get_cpus_of_their_own_while_there_are_enough() -> None:
    limits = Affinity()
    programs = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    try:
        for slot, program in enumerate(programs):
            process = identify(program.pid)
            assert process is not None
            limits.confine(str(slot), process, vcpus=1, ram_gb=1)

        first, second = (os.sched_getaffinity(program.pid) for program in programs)
        assert len(first) == len(second) == 1
        assert first != second
    finally:
        for program in programs:
            program.kill()
            program.wait()
