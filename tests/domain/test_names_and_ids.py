"""Ids, short ids and names: never mistaken for each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.domain import ids
from gpuyard.domain.errors import Invalid
from gpuyard.domain.instances import GpuRequest, InstanceSpec, check_labels, check_name, default_name

MAKERS = [
    ids.new_account_id,
    ids.new_member_id,
    ids.new_key_id,
    ids.new_instance_id,
    ids.new_interval_id,
    ids.new_execution_id,
]


def test_every_noun_has_a_prefix_of_its_own() -> None:
    assert len({make().split("_")[0] for make in MAKERS}) == len(MAKERS)


def test_a_short_id_is_eight_hex_digits_of_the_id() -> None:
    instance_id = ids.new_instance_id()

    assert ids.looks_like_instance_id(instance_id)
    assert ids.looks_like_short_id(ids.short_id(instance_id))
    assert instance_id.startswith(f"inst_{ids.short_id(instance_id)}")


def test_the_default_name_is_a_good_name() -> None:
    assert check_name(default_name("0badcafe")) == "compute-gpu-0badcafe"


@given(st.text(max_size=70))
def test_no_good_name_is_an_id_or_a_short_id_or_needs_quoting_in_a_url(text: str) -> None:
    try:
        name = check_name(text)
    except Invalid as refused:
        assert refused.field == "name"
        assert refused.hint
    else:
        assert not ids.looks_like_instance_id(name)
        assert not ids.looks_like_short_id(name)
        assert name.isascii()
        assert not set(name) & set("/?#%& ")


@pytest.mark.parametrize("name", ["", "-fern", ".", "..", "a/b", "fern tree", "0badcafe", "inst_1", "x" * 64, "fern\n"])
def test_a_name_that_would_confuse_somebody_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "Fern-2_b.c", "x" * 63, "deadbeefs"])
def test_ordinary_names_are_welcome(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "labels",
    [{"": "x"}, {"-a": "x"}, {"a b": "x"}, {"a": "x" * 257}, {f"k{n}": "" for n in range(65)}],
    ids=["empty key", "leading dash", "space", "long value", "too many"],
)
def test_labels_that_break_the_rules_are_refused_with_the_rule(labels: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        check_labels(labels)

    assert refused.value.field == "labels"
    assert refused.value.hint


def test_the_same_type_asked_for_twice_adds_up() -> None:
    spec = InstanceSpec((GpuRequest("rtx", 1), GpuRequest("tesla", 2), GpuRequest("rtx", 3)))

    assert spec.demand() == {"rtx": 4, "tesla": 2}


def test_an_instance_without_gpus_asks_for_one_of_the_pseudo_type() -> None:
    assert InstanceSpec(()).demand() == {"cpu": 1}
