"""What the client decides without a network holds for every case: pages, retries, turns, errors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.vendors.novita import errors
from gpuyard.vendors.novita.core import (
    Call,
    Failure,
    PageWalk,
    RateLimit,
    RetryPolicy,
    TokenBucket,
    error_of,
    failure_of_transport,
    nothing,
    retry_after,
    worth_another_try,
)

DICE = st.floats(0, 1, exclude_max=True)

# ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    count=st.integers(0, 60),
    size=st.integers(1, 25),
    first=st.sampled_from([0, 1]),
    begun=st.sampled_from([0, 1]),
    total=st.sampled_from(["right", "missing", "zero", "too large"]),
)
def test_a_walk_brings_every_item_once_wherever_pages_begin_to_count(
    count: int, size: int, first: int, begun: int, total: str
) -> None:
    """A server that counts from 1 takes page 0 for page 1, and one that counts from 0 is asked from 0."""
    begun = min(begun, first)
    items = list(range(count))
    said = {"right": count, "missing": None, "zero": 0, "too large": count + 7}[total]
    walk, got, asked = PageWalk(int, begun), list[int](), 0

    while walk.page is not None:
        asked += 1
        start = max(walk.page - first, 0) * size
        got += walk.take(items[start : start + size], said)

    assert got == items
    assert asked <= -(-count // size) + 3


@given(pages=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=40), total=st.none() | st.integers(0, 12))
def test_a_walk_ends_whatever_a_server_says_and_repeats_nothing(pages: list[list[int]], total: int | None) -> None:
    source: Iterator[list[int]] = iter(pages)
    walk, got = PageWalk(int), list[int]()

    while walk.page is not None:
        got += walk.take(next(source, []), total)

    assert len(got) == len(set(got))


def test_a_server_that_ignores_pages_is_asked_once_when_it_tells_the_total() -> None:
    walk = PageWalk(int)

    assert walk.take([1, 2, 3], 3) == [1, 2, 3]
    assert walk.page is None


# ── Asking again ────────────────────────────────────────────────────────────────────────────────────────────────────

FAILURES = st.builds(
    Failure,
    st.sampled_from(
        [
            errors.TimeoutError(),
            errors.ConnectionFailedError("cut"),
            errors.RateLimitError(),
            errors.AuthenticationError(),
            errors.NotFoundError(),
            errors.BadRequestError(),
            *(errors.APIError("no", status) for status in (301, 409, 422, 500, 501, 502, 503, 504)),
        ]
    ),
    st.booleans(),
)


@given(failure=FAILURES, tries=st.integers(1, 9), retries=st.integers(0, 9), repeatable=st.booleans(), dice=DICE)
def test_no_more_is_asked_than_was_allowed(
    failure: Failure, tries: int, retries: int, repeatable: bool, dice: float
) -> None:
    pause = RetryPolicy(retries).pause(failure, repeatable=repeatable, tries=tries, dice=dice)

    assert pause is None or (tries <= retries and 0 <= pause <= RetryPolicy().most_seconds)


@given(failure=FAILURES)
def test_what_may_have_happened_is_repeated_only_if_twice_is_as_good_as_once(failure: Failure) -> None:
    if failure.sent and not isinstance(failure.error, errors.RateLimitError):
        assert not worth_another_try(failure, repeatable=False)


@given(failure=FAILURES)
def test_an_answer_that_will_not_change_is_not_asked_for_again(failure: Failure) -> None:
    settled = errors.AuthenticationError | errors.NotFoundError | errors.BadRequestError
    if failure.sent and isinstance(failure.error, settled):
        assert not worth_another_try(failure, repeatable=True)


@given(seconds=st.integers(0, 500), dice=DICE)
def test_the_pause_asked_for_is_kept_or_the_error_is_raised(seconds: int, dice: float) -> None:
    policy = RetryPolicy(3)
    failure = Failure(errors.RateLimitError(retry_after=seconds))

    pause = policy.pause(failure, repeatable=False, tries=1, dice=dice)

    assert pause is None or seconds <= pause <= policy.longest_seconds
    assert seconds > policy.longest_seconds - 1 or pause is not None


@pytest.mark.parametrize("status", [429, 503])
def test_the_pause_is_read_from_the_refusal(status: int) -> None:
    failure = Failure(error_of(status, "http://x/y", {"retry-after": "7"}, b""))

    assert RetryPolicy(1, first_seconds=0.5).pause(failure, repeatable=True, tries=1, dice=0.5) == 7.25


@given(dice=DICE)
def test_pauses_grow_until_they_are_long_enough(dice: float) -> None:
    policy = RetryPolicy(100)
    failure = Failure(errors.APIError("busy", 503))

    pauses = [policy.pause(failure, repeatable=True, tries=tries, dice=dice) or 0.0 for tries in range(1, 50)]

    assert all(before <= after for before, after in pairwise(pauses))
    assert max(pauses) <= policy.most_seconds


@pytest.mark.parametrize(
    ("method", "sets", "repeatable"),
    [("GET", False, True), ("POST", False, False), ("POST", True, True), ("DELETE", False, False)],
)
def test_reads_and_what_sets_a_value_may_be_repeated(method: str, sets: bool, repeatable: bool) -> None:
    assert Call(method, "/x", nothing, sets=sets).repeatable is repeatable


@pytest.mark.parametrize(
    ("cause", "sent", "kind"),
    [
        (httpx.ConnectError("x"), False, errors.ConnectionFailedError),
        (httpx.ConnectTimeout("x"), False, errors.TimeoutError),
        (httpx.PoolTimeout("x"), False, errors.TimeoutError),
        (httpx.ProxyError("x"), False, errors.ConnectionFailedError),
        (httpx.ReadTimeout("x"), True, errors.TimeoutError),
        (httpx.WriteTimeout("x"), True, errors.TimeoutError),
        (httpx.ReadError("x"), True, errors.ConnectionFailedError),
        (httpx.WriteError("x"), True, errors.ConnectionFailedError),
        (httpx.RemoteProtocolError(""), True, errors.ConnectionFailedError),
    ],
)
def test_only_a_request_that_cannot_have_left_counts_as_unsent(
    cause: Exception, sent: bool, kind: type[errors.NovitaError]
) -> None:
    failure = failure_of_transport(cause, "http://x", timed_out=isinstance(cause, httpx.TimeoutException))

    assert (failure.sent, type(failure.error)) == (sent, kind)


# ── Turns ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 10),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=50),
)
def test_no_stretch_of_time_sees_more_requests_than_the_limit(per_second: float, burst: int, gaps: list[float]) -> None:
    bucket, now, sent = TokenBucket(RateLimit(per_second, burst), 100.0), 100.0, list[float]()

    for gap in gaps:
        now += gap
        sent.append(now + bucket.take(now))

    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + per_second * (sent[last] - sent[first]) + 1e-6


def test_a_burst_goes_at_once_and_the_rest_in_steps() -> None:
    bucket = TokenBucket(RateLimit(2, burst=3), 0.0)

    assert [bucket.take(0.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_a_clock_that_stands_still_or_stumbles_gives_no_turns_away() -> None:
    bucket = TokenBucket(RateLimit(1), 10.0)

    assert [bucket.take(10.0), bucket.take(9.0), bucket.take(10.0)] == [0, 1, 2]


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(status=st.integers(300, 599), body=st.binary(max_size=60), header=st.text(max_size=5))
def test_every_refusal_is_an_error_of_this_package(status: int, body: bytes, header: str) -> None:
    error = error_of(status, "http://x/y", {"retry-after": header}, body)

    assert isinstance(error, errors.NovitaError)
    assert error.status_code == status
    assert error.message


NOT_FOUND = b'{"code": 400, "reason": "TEMPLATE_NOT_FOUND", "message": "template not fount", "metadata": {}}'


@pytest.mark.parametrize("kind", [errors.NotFoundError, errors.BadRequestError])
def test_a_bad_request_about_something_missing_is_both(kind: type[errors.NovitaError]) -> None:
    error = error_of(400, "http://x/y", {}, NOT_FOUND)

    assert isinstance(error, kind)
    assert isinstance(error, errors.MissingReferenceError)
    assert error.details["reason"] == "TEMPLATE_NOT_FOUND"
    assert "not found" in str(error)


@pytest.mark.parametrize("kind", [errors.AuthenticationError, errors.APIError])
def test_what_is_forbidden_is_both_about_the_key_and_an_api_error(kind: type[errors.NovitaError]) -> None:
    error = error_of(403, "http://x/y", {}, b'{"reason": "INVALID_API_KEY"}')

    assert isinstance(error, kind)
    assert (error.status_code, error.message) == (403, "Not allowed: INVALID_API_KEY")


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("²", None)])
def test_a_pause_is_asked_for_in_seconds(said: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": said}) == seconds
