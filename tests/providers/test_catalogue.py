"""The GPU catalogue knows the cards people rent, under the names people use, and takes the owner's additions."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import Invalid

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        ("nvidia-rtx-3060ti", "nvidia-rtx-3060ti"),
        ("NVIDIA GeForce RTX 3060 Ti", "nvidia-rtx-3060ti"),
        ("rtx_3080_ti", "nvidia-rtx-3080ti"),
        ("RTX 3090 24GB", "nvidia-rtx-3090"),
        ("RTX 4090 24GB", "nvidia-rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "nvidia-rtx-4090"),
        ("RTX 5090 32GB", "nvidia-rtx-5090"),
        ("NVIDIA RTX A4000", "nvidia-rtx-a4000"),
        ("A5000", "nvidia-rtx-a5000"),
        ("RTX A6000", "nvidia-rtx-a6000"),
        ("NVIDIA RTX 6000 Ada Generation", "nvidia-rtx-6000-ada"),
        ("Tesla T4", "nvidia-t4"),
        ("Tesla V100-SXM2-16GB", "nvidia-v100"),
        ("Tesla V100-SXM2-32GB", "nvidia-v100-32gb"),
        ("NVIDIA A10", "nvidia-a10"),
        ("A30", "nvidia-a30"),
        ("A40", "nvidia-a40"),
        ("A16", "nvidia-a16"),
        ("L4", "nvidia-l4"),
        ("L40", "nvidia-l40"),
        ("NVIDIA L40S", "nvidia-l40s"),
        ("a100-40gb", "nvidia-a100-40gb"),
        ("NVIDIA A100-SXM4-80GB", "nvidia-a100-80gb"),
        ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb"),
        ("H100 SXM", "nvidia-h100"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100"),
        ("NVIDIA H100 NVL", "nvidia-h100-nvl"),
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA GH200 480GB", "nvidia-gh200"),
        ("b200", "nvidia-b200"),
        ("B300", "nvidia-b300"),
        ("GB200", "nvidia-gb200"),
        ("AMD Instinct MI210", "amd-mi210"),
        ("MI250X", "amd-mi250x"),
        ("mi300x", "amd-mi300x"),
        ("MI325X", "amd-mi325x"),
        ("MI350X", "amd-mi350x"),
        ("MI355X", "amd-mi355x"),
        ("Radeon RX 7900 XTX", "amd-rx-7900xtx"),
        ("W7900", "amd-w7900"),
    ],
)
def test_a_card_is_found_by_the_names_people_use(spelling: str, slug: str) -> None:
    assert CATALOGUE.resolve(spelling).slug == slug


def test_slugs_can_stand_in_a_url() -> None:
    assert [slug for slug in CATALOGUE.gpus if not re.fullmatch(r"[a-z0-9-]+", slug)] == []


def test_no_spelling_means_two_cards() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for gpu in CATALOGUE.gpus.values():
        for spelling in (gpu.slug, gpu.slug.removeprefix(f"{gpu.vendor}-"), gpu.name, *gpu.aliases):
            meanings[re.sub(r"[^a-z0-9]", "", spelling.lower())].add(gpu.slug)

    assert {spelling: slugs for spelling, slugs in meanings.items() if len(slugs) > 1} == {}


def test_the_owners_file_changes_cards_and_adds_some(tmp_path: Path) -> None:
    extra = tmp_path / "cards.yaml"
    extra.write_text(
        "gpus:\n"
        "  - {slug: nvidia-rtx-3080, memory_gb: 12, aliases: [The big 3080]}\n"
        "  - {slug: acme-one, name: Acme One, memory_gb: 64}\n"
    )

    catalogue = load_catalogue(extra)

    changed = catalogue.resolve("the big 3080")
    assert (changed.slug, changed.memory_gb, changed.architecture) == ("nvidia-rtx-3080", 12, "Ampere")
    assert catalogue.resolve("RTX 3080 10GB").slug == "nvidia-rtx-3080"
    assert catalogue.resolve("one").vendor == "acme"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gpus: [", "not YAML"),
        ("cards: []", "gpus"),
        ("gpus: [{slug: Two Words}]", "slug"),
        ("gpus: [{slug: acme-one, name: Acme One}]", "memory_gb"),
        ("gpus: [{slug: acme-one, name: Acme One, memory_gb: big}]", "memory_gb"),
        ("gpus: [{slug: acme-one, name: Acme One, memory_gb: 8, aliases: [3090]}]", "aliases"),
        ("gpus: [{slug: acme-one, name: Acme One, memory_gb: 8, colour: red}]", "colour"),
    ],
)
def test_a_file_that_makes_no_sense_is_named_with_its_field(tmp_path: Path, text: str, names: str) -> None:
    extra = tmp_path / "cards.yaml"
    extra.write_text(text)

    with pytest.raises(Invalid, match=names) as refusal:
        load_catalogue(extra)

    assert str(extra) in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"absent\.yaml"):
        load_catalogue(tmp_path / "absent.yaml")
