"""What is asked again, and what never is."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.sdk import errors
from gpuyard.sdk.core import Call, Failure, RetryPolicy, failure_of_transport, json_call, nothing
from tests.sdk.manners import open_client
from tests.sdk.scripted import INSTANCE, KEY, Answer, in_turn, refused, scripted, told

QUICK = RetryPolicy(first_seconds=0.001, most_seconds=0.01)
BALANCE = told({"balance_micro": 1, "held_micro": 0, "running_per_hour_micro": 0, "currency": "EUR"})


def client_of(manner: str, url: str, **options: Any) -> Any:
    return open_client(manner, url, KEY, **{"retries": QUICK, **options})


@pytest.mark.parametrize(
    "first",
    [
        refused(503, "provider_unavailable"),
        refused(502, "instance_unreachable"),
        refused(429, "rate_limited", retry_after=0),
        Answer(502, b"Bad Gateway"),
        Answer(never=True),
        Answer(body=b"{" * 100, cut_at=50),
    ],
    ids=["unavailable", "unreachable", "limited", "proxy", "silence", "cut"],
)
async def test_a_read_is_asked_again(manner: str, first: Answer) -> None:
    with scripted(in_turn(first, BALANCE)) as yard:
        async with client_of(manner, yard.url) as client:
            assert (await client.balance()).balance_micro == 1

    assert len(yard.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [refused(500, "internal"), refused(409, "no_capacity"), refused(404, "not_found"), refused(507, "storage_full")],
)
async def test_an_answer_is_not_asked_for_again(manner: str, answer: Answer) -> None:
    with scripted(in_turn(answer)) as yard:
        async with client_of(manner, yard.url) as client:
            with pytest.raises(errors.YardError):
                await client.balance()

    assert len(yard.asked) == 1


async def test_an_order_is_repeated_under_the_same_key(manner: str) -> None:
    with scripted(in_turn(Answer(never=True), Answer(502), told(INSTANCE, 201))) as yard:
        async with client_of(manner, yard.url) as client:
            instance = await client.instances.create("rtx-3090", max_cost="1.50")

    assert instance.name == "one"
    assert len({asked.headers["Idempotency-Key"] for asked in yard.asked}) == 1
    assert [json.loads(asked.body) for asked in yard.asked] == [
        {"gpus": [{"type": "rtx-3090", "count": 1}], "limits": {"max_cost_micro": 1_500_000}}
    ] * 3


async def test_two_orders_are_two_orders(manner: str) -> None:
    with scripted(in_turn(told(INSTANCE, 201))) as yard:
        async with client_of(manner, yard.url) as client:
            await client.instances.create()
            await client.instances.create()

    assert len({asked.headers["Idempotency-Key"] for asked in yard.asked}) == 2


@pytest.mark.parametrize(
    "lost", [Answer(never=True), Answer(502, b"Bad Gateway"), refused(502, "provider_unavailable")]
)
async def test_what_may_have_happened_is_not_repeated_without_a_key(manner: str, lost: Answer) -> None:
    with scripted(in_turn(lost)) as yard:
        async with client_of(manner, yard.url) as client:
            with pytest.raises(errors.YardError):
                await client.members.create("Ada")

    assert len(yard.asked) == 1


async def test_what_was_refused_for_its_rate_is_repeated_whatever_it_is(manner: str) -> None:
    member = {"id": "mem_1", "name": "Ada", "role": "member", "created_at": "2026-03-01T09:00:00Z"}
    with scripted(in_turn(refused(429, "rate_limited", retry_after=0), told(member, 201))) as yard:
        async with client_of(manner, yard.url) as client:
            assert (await client.members.create("Ada")).name == "Ada"

    assert len(yard.asked) == 2


async def test_after_so_many_tries_the_error_is_told(manner: str) -> None:
    with scripted(in_turn(refused(429, "rate_limited", retry_after=0.001))) as yard:
        async with client_of(manner, yard.url, retries=RetryPolicy(retries=2, first_seconds=0.001)) as client:
            with pytest.raises(errors.RateLimited) as caught:
                await client.balance()

    assert len(yard.asked) == 3
    assert caught.value.retry_after == 0.001


async def test_a_yard_that_is_not_there_is_a_connection_that_failed(manner: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with client_of(manner, f"http://127.0.0.1:{port}") as client:
        with pytest.raises(errors.ConnectionFailed, match="gpuyard up"):
            await client.me()


async def test_a_yard_that_says_nothing_is_out_of_time(manner: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with client_of(manner, url, timeout=0.05, retries=0) as client:
            with pytest.raises(errors.TimedOut):
                await client.me()


async def test_the_reason_of_a_refused_look_is_found_out(manner: str) -> None:
    missing = refused(404, "not_found", hint="look elsewhere")
    with scripted(lambda asked: told(INSTANCE) if asked.path.endswith("00000001") else missing) as yard:
        async with client_of(manner, yard.url) as client:
            instance = await client.instances.get(INSTANCE["id"])
            with pytest.raises(errors.NotFound, match="look elsewhere"):
                await instance.files.stat("nowhere")


CALLS = [
    Call("GET", "/", nothing),
    Call("PUT", "/", nothing),
    Call("DELETE", "/", nothing),
    json_call("POST", "/", nothing, {}),
    json_call("POST", "/", nothing, {}, idempotency_key="k"),
    json_call("PATCH", "/", nothing, {}),
]


def test_only_what_may_happen_twice_is_repeatable() -> None:
    assert [call.repeatable for call in CALLS] == [True, True, True, False, True, False]


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_was_never_sent_may_always_be_sent(repeatable: bool) -> None:
    class ConnectError(Exception):
        pass

    failure = failure_of_transport(ConnectError("refused"), "http://yard")

    assert QUICK.pause(failure, repeatable=repeatable, tries=1, waited=0, dice=0.5) is not None


@given(tries=st.integers(1, 3), dice=st.floats(0, 1, exclude_max=True))
def test_a_pause_is_jittered_under_a_ceiling_that_doubles(tries: int, dice: float) -> None:
    policy = RetryPolicy(retries=3, first_seconds=1, most_seconds=5)

    pause = policy.pause(Failure(errors.ConnectionFailed("x")), repeatable=True, tries=tries, waited=0, dice=dice)

    assert pause == dice * min(5, 2**tries)


@given(asked=st.floats(0, 100), waited=st.floats(0, 100), dice=st.floats(0, 1, exclude_max=True))
def test_the_yard_is_given_the_time_it_asked_for_or_none(asked: float, waited: float, dice: float) -> None:
    policy = RetryPolicy(budget_seconds=60)

    pause = policy.pause(
        Failure(errors.RateLimited("x", retry_after=asked)), repeatable=False, tries=1, waited=waited, dice=dice
    )

    assert pause is None or (asked <= pause and waited + pause <= 60)
    assert pause is not None or waited + asked + policy.first_seconds > 60
