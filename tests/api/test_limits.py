"""Nobody asks too fast, nothing is too large, and who is refused learns when to come back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gpuyard.api.limits import BodySizes, Buckets
from gpuyard.domain.errors import RateLimited
from tests.api.conftest import Api


class Watch:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    watch = Watch()
    buckets = Buckets(2, 3, clock=watch)

    for _ in range(3):
        buckets.take("me")
    with pytest.raises(RateLimited) as refused:
        buckets.take("me")
    watch.time += 0.5
    buckets.take("me")

    assert refused.value.retry_after == 0.5


def test_one_caller_does_not_use_up_anothers_tokens() -> None:
    buckets = Buckets(1, 1, clock=Watch())

    buckets.take("me")

    buckets.take("you")


def test_callers_are_forgotten_before_they_fill_the_memory() -> None:
    buckets = Buckets(1, 1, keep=10, clock=Watch())

    for number in range(1000):
        buckets.take(number)

    assert len(buckets._levels) == 10


def test_a_rate_of_zero_is_no_limit() -> None:
    buckets = Buckets(0, 1)

    for _ in range(100):
        buckets.take("me")


async def test_a_key_that_asks_too_fast_is_told_when_to_come_back(api: Api) -> None:
    api.rate = Buckets(0.5, 1, clock=Watch())
    client = api.owner

    first, second = await client.get("/me"), await client.get("/me")

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["retry-after"] == "2"
    assert second.json()["error"]["retry_after"] == 2


async def test_guessing_keys_is_slowed_down(api: Api) -> None:
    api.failures = Buckets(0.1, 2, clock=Watch())

    statuses = [(await api.client(f"sk_compute_{n}").get("/me")).status_code for n in range(4)]

    assert statuses == [401, 401, 429, 429]


async def test_a_body_that_announces_too_much_is_refused(api: Api) -> None:
    api.sizes = BodySizes(json=2000)

    reply = await api.owner.post("/instances", json={"name": "x" * 5000})

    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


async def test_a_body_that_does_not_announce_its_size_is_refused_as_it_grows(api: Api) -> None:
    api.sizes = BodySizes(json=2000)
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while len(sent) < 1000:
            sent.append(1)
            yield b"x" * 1000

    reply = await api.owner.post("/instances", content=endless(), headers={"content-type": "application/json"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")
    assert len(sent) < 10


def test_files_stream_without_a_ceiling() -> None:
    sizes = BodySizes()

    assert sizes.ceiling("PUT", "/yard/v1/instances/a/files/data.bin") is None
    assert sizes.ceiling("PUT", "/yard/v1/instances/a/archive/") is None
    assert sizes.ceiling("POST", "/yard/v1/instances") == sizes.json
