"""Finding a GPU by any name people use for it."""

from __future__ import annotations

import pytest

from gpuyard.domain.errors import UnknownGpu
from gpuyard.domain.gpus import Gpu, GpuCatalogue

RTX_3090 = Gpu("nvidia-rtx-3090", "NVIDIA GeForce RTX 3090", 24, "nvidia", "Ampere", "8.6", ("GEFORCE_RTX_3090",))
RTX_4090 = Gpu("nvidia-rtx-4090", "NVIDIA GeForce RTX 4090", 24, "nvidia", "Ada Lovelace", "8.9")
A100_40 = Gpu("nvidia-a100-40gb", "NVIDIA A100-PCIE-40GB", 40, "nvidia", "Ampere", "8.0", ("A100", "A100 40GB"))
CATALOGUE = GpuCatalogue.of([RTX_3090, RTX_4090, A100_40])


@pytest.mark.parametrize(
    "asked",
    [
        "nvidia-rtx-3090",
        "NVIDIA GeForce RTX 3090",
        "rtx-3090",
        "RTX3090",
        "rtx 3090",
        "Rtx_3090",
        "geforce rtx 3090",
        " nvidia rtx 3090 ",
    ],
)
def test_a_card_is_found_by_slug_name_or_alias_however_it_is_written(asked: str) -> None:
    assert CATALOGUE.resolve(asked) is RTX_3090


@pytest.mark.parametrize("gpu", CATALOGUE.gpus.values(), ids=lambda gpu: gpu.slug)
def test_every_card_is_found_by_all_of_its_names(gpu: Gpu) -> None:
    assert {CATALOGUE.resolve(name).slug for name in (gpu.slug, gpu.name, *gpu.aliases)} == {gpu.slug}


def test_a_slug_wins_over_another_cards_alias() -> None:
    impostor = Gpu("amd-x", "AMD X", 16, "amd", "RDNA", aliases=("nvidia-rtx-3090",))

    for order in ([impostor, RTX_3090], [RTX_3090, impostor]):
        assert GpuCatalogue.of(order).resolve("nvidia-rtx-3090") is RTX_3090


@pytest.mark.parametrize(("asked", "nearest"), [("rtx-3091", "nvidia-rtx-3090"), ("A10O", "nvidia-a100-40gb")])
def test_a_misspelled_card_is_answered_with_the_nearest(asked: str, nearest: str) -> None:
    with pytest.raises(UnknownGpu) as refused:
        CATALOGUE.resolve(asked, field="gpus.0.type")

    assert refused.value.field == "gpus.0.type"
    assert repr(asked) in refused.value.message
    assert nearest in refused.value.details["nearest"]
    assert nearest in (refused.value.hint or "")


def test_a_card_like_no_other_is_answered_with_where_to_look() -> None:
    with pytest.raises(UnknownGpu) as refused:
        CATALOGUE.resolve("quantum-flux-9")

    assert refused.value.details["nearest"] == []
    assert "gpuyard offers" in (refused.value.hint or "")
