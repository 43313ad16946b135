"""The two lifecycle tables, questioned as wholes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from gpuyard.domain.errors import IllegalMove
from gpuyard.domain.executions import EXECUTION_ENDED, EXECUTION_LIFECYCLE, ExecutionEvent, ExecutionState
from gpuyard.domain.instances import (
    ACTIVE,
    ENDED,
    INSTANCE_LIFECYCLE,
    PATIENCE,
    InstanceEvent,
    InstanceState,
)
from gpuyard.domain.lifecycle import Lifecycle

S, E = InstanceState, InstanceEvent

PASSING = {S.REQUESTED, S.PROVISIONING, S.STARTING}
"""States that only ever last for a while: something is being done."""
LASTING = {S.RUNNING, S.STOPPED, S.FAILED, S.DELETED}
"""States that may last as long as their owner likes."""
PATIENT_ON_PURPOSE = {S.WAITING, S.STOPPING, S.DELETING}
"""The customer's own limit ends the first; the others go on until the machine has stopped, or is gone."""

TABLES: list[tuple[Lifecycle[Any, Any], type[StrEnum], type[StrEnum]]] = [
    (INSTANCE_LIFECYCLE, InstanceState, InstanceEvent),
    (EXECUTION_LIFECYCLE, ExecutionState, ExecutionEvent),
]


def can_reach(table: Lifecycle[Any, Any], start: StrEnum, goal: StrEnum) -> bool:
    return goal in Lifecycle(table.noun, start, table.arrows).reachable()


@pytest.mark.parametrize(("table", "states", "_events"), TABLES, ids=lambda it: getattr(it, "noun", ""))
def test_every_state_is_reached_by_some_life(
    table: Lifecycle[Any, Any], states: type[StrEnum], _events: type[StrEnum]
) -> None:
    assert table.reachable() == set(states)


@pytest.mark.parametrize(("table", "_states", "events"), TABLES, ids=lambda it: getattr(it, "noun", ""))
def test_every_event_moves_something(table: Lifecycle[Any, Any], _states: type[StrEnum], events: type[StrEnum]) -> None:
    assert {event for _, event in table.arrows} == set(events)


@pytest.mark.parametrize("state", InstanceState)
def test_every_instance_can_end_up_deleted(state: InstanceState) -> None:
    assert can_reach(INSTANCE_LIFECYCLE, state, S.DELETED)


@pytest.mark.parametrize("state", sorted(set(InstanceState) - {S.DELETING, S.DELETED}))
def test_its_owner_can_delete_an_instance_in_any_state(state: InstanceState) -> None:
    assert INSTANCE_LIFECYCLE.next(state, E.DELETE) is S.DELETING


def test_nothing_comes_back_from_deleted() -> None:
    assert INSTANCE_LIFECYCLE.events_from(S.DELETED) == set()


def test_a_failed_instance_can_only_be_deleted() -> None:
    assert INSTANCE_LIFECYCLE.events_from(S.FAILED) == {E.DELETE}


def test_the_states_are_passing_lasting_or_patient_on_purpose() -> None:
    assert set(InstanceState) == PASSING | LASTING | PATIENT_ON_PURPOSE


def test_every_passing_state_has_a_limit_to_our_patience_and_no_other_state_has() -> None:
    assert set(PATIENCE) == PASSING


@pytest.mark.parametrize("state", sorted(PATIENCE))
def test_giving_up_leads_out_of_every_state_we_lose_patience_with(state: InstanceState) -> None:
    assert INSTANCE_LIFECYCLE.next(state, E.GAVE_UP) is not state


def test_what_ended_is_not_active() -> None:
    assert ACTIVE.isdisjoint(ENDED)


@pytest.mark.parametrize("state", ExecutionState)
def test_an_execution_has_ended_exactly_when_nothing_moves_it_any_more(state: ExecutionState) -> None:
    assert (state in EXECUTION_ENDED) == (EXECUTION_LIFECYCLE.events_from(state) == set())


@pytest.mark.parametrize("state", sorted(set(ExecutionState) - EXECUTION_ENDED))
def test_an_execution_ends_when_its_instance_does(state: ExecutionState) -> None:
    assert EXECUTION_LIFECYCLE.next(state, ExecutionEvent.INSTANCE_GONE) is ExecutionState.LOST


def test_an_illegal_move_is_named_with_what_is_possible_instead() -> None:
    with pytest.raises(IllegalMove) as refused:
        INSTANCE_LIFECYCLE.next(S.DELETING, E.START)

    assert refused.value.message == "cannot start while the instance is deleting"
    assert refused.value.hint == "from here: released"
    assert refused.value.details == {"state": "deleting", "event": "start"}
