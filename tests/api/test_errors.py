"""Every refusal has one shape, one status and says what would be right."""

from __future__ import annotations

import pytest

from gpuyard.api.errors import STATUS, render
from gpuyard.api.validation import path_of
from gpuyard.domain.errors import InstanceUnreachable, RateLimited, Unauthenticated, error_classes
from tests.api.conftest import RTX, Api


def test_every_error_class_has_a_status() -> None:
    assert set(STATUS) == set(error_classes())


def test_a_wait_is_told_in_whole_seconds_and_rounded_up() -> None:
    response = render(RateLimited("slow down", retry_after=0.2), "req_1")

    assert response.headers["retry-after"] == "1"


def test_a_missing_key_is_asked_for_in_the_standard_way() -> None:
    response = render(Unauthenticated("no key"), "req_1")

    assert response.headers["www-authenticate"] == "Bearer"


def test_what_is_unknown_about_an_error_is_left_out() -> None:
    response = render(InstanceUnreachable("gone"), "req_1")

    assert response.body == b'{"error": {"code": "instance_unreachable", "message": "gone", "request_id": "req_1"}}'


def test_a_place_in_a_body_reads_like_code() -> None:
    assert path_of(("gpus", 0, "count")) == "gpus[0].count"


async def test_an_unknown_address_is_answered_in_our_shape(api: Api) -> None:
    reply = await api.owner.get("/nonsense")

    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "not_found"


async def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    reply = await api.owner.put("/me")

    assert reply.status_code == 405
    assert "GET" in reply.json()["error"]["hint"]
    assert reply.headers["allow"] == "GET"


async def test_a_misspelled_field_is_named_with_the_nearest_known_one(api: Api) -> None:
    reply = await api.owner.post("/instances", json={"gpus": [{**RTX, "cuont": 2}]})

    assert reply.status_code == 422
    error = reply.json()["error"]
    assert (error["code"], error["field"]) == ("invalid_request", "gpus[0].cuont")
    assert error["hint"] == "did you mean 'count'?"


async def test_a_wrong_value_is_shown_with_what_would_be_right(api: Api) -> None:
    reply = await api.owner.post("/instances", json={"gpus": [{**RTX, "count": -1}]})

    error = reply.json()["error"]
    assert error["field"] == "gpus[0].count"
    assert error["message"] == "gpus[0].count is -1: input should be greater than or equal to 1"


async def test_an_unknown_gpu_comes_with_the_nearest_names(api: Api) -> None:
    reply = await api.owner.post("/instances", json={"gpus": [{"type": "nvidia-rtx-3091"}]})

    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["field"]) == (422, "unknown_gpu", "gpus[0].type")
    assert "nvidia-rtx-3090" in error["hint"]


@pytest.mark.parametrize("body", [b"{", b"[1, 2]", b'"text"', b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_malformed(api: Api, body: bytes) -> None:
    reply = await api.owner.post("/instances", content=body, headers={"content-type": "application/json"})

    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_request"


async def test_a_missing_body_is_asked_for(api: Api) -> None:
    reply = await api.owner.post("/instances")

    assert reply.status_code == 422
    assert reply.json()["error"]["message"] == "the request has no body"


async def test_text_with_a_zero_character_is_refused(api: Api) -> None:
    reply = await api.owner.post("/instances", json={"gpus": [RTX], "labels": {"team": "a\0b"}})

    assert reply.status_code == 422
    assert reply.json()["error"]["field"] == "labels"


async def test_a_bug_is_answered_with_its_request_id_and_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    client = api.owner
    await api.world.store.close()

    reply = await client.get("/offers", headers={"X-Request-Id": "mine-1"})

    assert reply.status_code == 500
    assert (reply.json()["error"]["code"], reply.json()["error"]["request_id"]) == ("internal", "mine-1")
    assert any(record.exc_info and record.request_id == "mine-1" for record in caplog.records)  # type: ignore[attr-defined]


async def test_a_request_id_is_echoed_where_it_is_harmless_and_made_where_not(api: Api) -> None:
    echoed = await api.owner.get("/me", headers={"X-Request-Id": "abc-123"})
    made = await api.owner.get("/me", headers={"X-Request-Id": "a b\tc"})

    assert echoed.headers["x-request-id"] == "abc-123"
    assert made.headers["x-request-id"].startswith("req_")
