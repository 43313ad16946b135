"""What a reconciler does, for every state of an instance and everything that can be seen of it."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from gpuyard.domain.instances import INSTANCE_LIFECYCLE, PATIENCE, InstanceEvent, InstanceState
from gpuyard.domain.planning import Ask, plan
from gpuyard.domain.sightings import Presence, Sighting
from tests.domain.builders import NOW, an_instance

S, E, P = InstanceState, InstanceEvent, Presence

EVERYTHING = list(product(InstanceState, Presence))
NO_MACHINE_WANTED = sorted({S.DELETING, S.FAILED})
GPUS_WANTED = {S.REQUESTED, S.PROVISIONING, S.STARTING, S.RUNNING}


@pytest.mark.parametrize(("state", "presence"), EVERYTHING)
def test_there_is_a_plan_for_every_state_and_presence(state: InstanceState, presence: Presence) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    assert decided.ask is None or decided.record is None, "one thing per pass, so that every crash point is a state"


@pytest.mark.parametrize(("state", "presence"), EVERYTHING)
def test_what_a_plan_records_is_a_legal_move(state: InstanceState, presence: Presence) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    assert decided.record is None or INSTANCE_LIFECYCLE.allows(state, decided.record)


@pytest.mark.parametrize(("state", "presence"), EVERYTHING)
def test_an_instance_that_may_still_cost_is_looked_at_again(state: InstanceState, presence: Presence) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    at_rest = state in {S.WAITING, S.DELETED} or decided.gone or decided.capacity_returned
    assert at_rest or decided.again_in is not None


@pytest.mark.parametrize("presence", sorted(set(Presence) - {P.ABSENT}))
@pytest.mark.parametrize("state", NO_MACHINE_WANTED)
def test_a_machine_nobody_wants_is_released_as_long_as_any_of_it_is_there(
    state: InstanceState, presence: Presence
) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    assert decided.ask is Ask.RELEASE


@pytest.mark.parametrize("presence", sorted(set(Presence) - {P.ABSENT}))
@pytest.mark.parametrize("state", NO_MACHINE_WANTED)
def test_no_impatience_ends_the_asking_for_release(state: InstanceState, presence: Presence) -> None:
    long_ago = an_instance(state, for_the_last=timedelta(days=365))

    assert plan(long_ago, Sighting(presence), NOW).ask is Ask.RELEASE


@pytest.mark.parametrize(("state", "presence"), EVERYTHING)
def test_a_machine_is_ordered_only_when_it_was_asked_for_and_none_is_there(
    state: InstanceState, presence: Presence
) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    assert (decided.ask is Ask.ORDER) == (state is S.REQUESTED and presence is P.ABSENT)


@pytest.mark.parametrize(("state", "presence"), EVERYTHING)
def test_gpus_are_given_to_others_only_when_nothing_runs_on_them(state: InstanceState, presence: Presence) -> None:
    decided = plan(an_instance(state), Sighting(presence), NOW)

    if decided.capacity_returned:
        assert presence in {P.ABSENT, P.STOPPED}
        assert state not in GPUS_WANTED


@pytest.mark.parametrize("state", sorted(set(InstanceState) - {S.WAITING, S.DELETED}))
def test_what_is_gone_leads_to_a_state_that_says_so(state: InstanceState) -> None:
    decided = plan(an_instance(state), Sighting(P.ABSENT), NOW)

    if state is S.REQUESTED:
        assert decided.ask is Ask.ORDER
    elif state is S.FAILED:
        assert decided.gone
    else:
        assert decided.record in {E.VANISHED, E.RELEASED}


@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("state", sorted(PATIENCE))
def test_we_give_up_on_a_passing_state_that_lasts_too_long_unless_it_has_come_true(
    state: InstanceState, presence: Presence
) -> None:
    stuck = an_instance(state, for_the_last=PATIENCE[state])

    decided = plan(stuck, Sighting(presence), NOW)

    come_true = {S.REQUESTED: presence is not P.ABSENT}.get(state, presence is P.RUNNING)
    assert decided.record is (({S.REQUESTED: E.ORDERED}.get(state, E.READY)) if come_true else E.GAVE_UP)
    assert come_true or "minutes" in decided.reason


@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("state", sorted(PATIENCE))
def test_time_in_which_nobody_looked_tries_no_patience(state: InstanceState, presence: Presence) -> None:
    away = an_instance(state, for_the_last=timedelta(days=3))

    assert plan(away, Sighting(presence), NOW, looking_since=NOW).record is not E.GAVE_UP


@pytest.mark.parametrize("presence", Presence)
def test_a_disk_that_was_to_be_kept_is_never_given_up(presence: Presence) -> None:
    slow = an_instance(S.STOPPING, for_the_last=timedelta(days=3))

    decided = plan(slow, Sighting(presence), NOW)

    assert decided.record is (E.HALTED if presence is P.STOPPED else E.VANISHED if presence is P.ABSENT else None)
    assert decided.ask in (None, Ask.STOP)


def test_a_lost_answer_to_an_order_costs_no_second_machine() -> None:
    requested = an_instance(S.REQUESTED)

    decided = plan(requested, Sighting(P.RUNNING), NOW)

    assert decided.ask is None
    assert decided.record is E.ORDERED


def test_a_running_instance_whose_resident_is_silent_stays_ours() -> None:
    decided = plan(an_instance(S.RUNNING), Sighting(P.PENDING), NOW)

    assert decided.ask is None
    assert decided.record is None


@pytest.mark.parametrize("presence", [P.FAILED, P.ABSENT, P.STOPPED])
def test_the_reason_the_provider_gave_is_passed_on(presence: Presence) -> None:
    decided = plan(an_instance(S.PROVISIONING), Sighting(presence, "the disk is full"), NOW)

    assert decided.reason == "the disk is full"
