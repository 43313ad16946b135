"""Beside the published SDK: the same names, the same methods, and the same requests, but for the differences in the table."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from gpuyard.vendors import novita
from gpuyard.vendors.novita import AsyncNovitaClient, NovitaClient
from gpuyard.vendors.novita.generated import models
from tests.vendors.novita.calls import CALLS
from tests.vendors.novita.published import Recorder, Request, recording, run

NEWEST, OLDEST = "0.5.0", "0.2.1"
RELEASES = (NEWEST, OLDEST)

pytestmark = pytest.mark.xdist_group("novita-published")

# ── The requests ────────────────────────────────────────────────────────────────────────────────────────────────────

DIFFERENCES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "metrics.get": (
        "the documented path and name of the id",
        [{"path": "/openapi/v1/metrics/gpu/instance", "query": [("instanceId", "i-1")]}],
    ),
    "jobs.break_job": ("the documented key", [{"body": {"jobId": "job-1"}}]),
    "templates.list": (
        "the channel is always named, which the reference demands: one's own, then the official ones",
        [
            {"query": [("channel", "private"), ("isMyCommunity", "true")]},
            {"query": [("channel", "official"), ("isMyCommunity", "false")]},
        ],
    ),
    "registries.create": (
        "the password itself, not ten asterisks",
        [{"body": {"name": "docker.io", "username": "me", "password": "s3cret"}}],
    ),
    "image_prewarm.update": ("without the undocumented task_id", [{"body": {"id": "pw-1", "note": "n2"}}]),
    "image_prewarm.delete": ("the documented list of ids", [{"body": {"ids": ["pw-1"]}}]),
    "image_prewarm.delete, several": ("the documented list of ids", [{"body": {"ids": ["pw-1", "pw-2"]}}]),
    "endpoints.get": ("the documented name of the id", [{"query": [("id", "ep-5b1")]}]),
    "endpoints.create": (
        "ports as an array, the rest as objects (which in the oldest release are arrays of one)",
        [
            {
                "body": {
                    "endpoint": {
                        "workerConfig": {"minNum": 1, "maxNum": 2, "freeTimeout": 300, "maxConcurrent": 1, "gpuNum": 1},
                        "ports": [{"port": "80"}],
                        "policy": {"type": "queue", "value": 60},
                        "image": {"image": "nginx", "authId": "ra-1", "command": "run"},
                        "healthy": {"path": "/health"},
                    }
                }
            }
        ],
    ),
    "endpoints.update": (
        "the documented id, and objects instead of arrays of one",
        [
            {
                "body": {
                    "id": "ep-5b1",
                    "name": "demo-2",
                    "workerConfig": {"minNum": 1, "maxNum": 2, "freeTimeout": 60, "maxConcurrent": 1, "gpuNum": 1},
                    "ports": [{"port": "80"}],
                    "policy": {"type": "concurrency", "value": 25},
                    "image": {"image": "nginx"},
                }
            }
        ],
    ),
    "endpoints.delete": ("the documented name, and the one that works", [{"body": {"name": "ep-5b1", "id": "ep-5b1"}}]),
}
"""Where our request differs from the published SDK's, why, and what it is instead."""

DIFFERENCES_FROM: dict[str, dict[str, tuple[str, list[dict[str, Any]]]]] = {
    NEWEST: DIFFERENCES,
    OLDEST: DIFFERENCES
    | {
        "networks.get": ("the documented name of the id", [{"query": [("networkId", "vpc-1")]}]),
        "networks.update": ("the documented name alone", [{"body": {"networkId": "vpc-1", "name": "net-b"}}]),
        "networks.delete": ("the documented name of the id", [{"body": {"networkId": "vpc-1"}}]),
        "storages.update": (
            "the documented name alone",
            [{"body": {"storageId": "st-11", "storageName": "data", "storageSize": 200}}],
        ),
        "storages.delete": ("the documented name of the id", [{"body": {"storageId": "st-11"}}]),
    },
}


@pytest.fixture(scope="module", params=RELEASES)
def theirs(request: pytest.FixtureRequest) -> Recorder:
    """What the published SDK asks, in both manners."""
    with recording() as recorder:
        recorder.release = request.param
        recorder.failed = run(request.param, "calls", recorder.url)
    return recorder


@pytest.fixture(scope="module")
def ours() -> Recorder:
    with recording() as recorder, NovitaClient("test-key", base_url=recorder.url) as client:
        for name, call in CALLS.items():
            recorder.begin(f"sync {name}")
            call(client.gpu, models)
    return recorder


async def ours_later(name: str) -> list[Request]:
    with recording() as recorder:
        async with AsyncNovitaClient("test-key", base_url=recorder.url) as client:
            recorder.begin(name)
            await CALLS[name](client.gpu, models)
    return recorder.asked[name]


def merged(request: Request, change: dict[str, Any]) -> Request:
    """What a row names is replaced; of a new endpoint only the parts it names."""
    if "endpoint" not in (change.get("body") or {}):
        return request | change
    return request | {"body": {"endpoint": request["body"]["endpoint"] | change["body"]["endpoint"]}}


@pytest.mark.parametrize("name", CALLS)
def test_our_requests_are_theirs_but_for_the_table(theirs: Recorder, ours: Recorder, name: str) -> None:
    assert f"sync {name}" not in theirs.failed
    published, mine = theirs.asked[f"sync {name}"], ours.asked[f"sync {name}"]

    expected, differences = published, DIFFERENCES_FROM[theirs.release]
    if name in differences:
        expected = [merged(published[0], change) for change in differences[name][1]]
        assert expected != published, "no difference any more: take it out of the table"
    assert mine == expected
    assert all(one["key"] == "Bearer test-key" for one in mine)


@pytest.mark.parametrize("name", CALLS)
async def test_both_manners_ask_the_same(ours: Recorder, name: str) -> None:
    assert await ours_later(name) == ours.asked[f"sync {name}"]


def test_the_published_manners_ask_the_same_as_well(theirs: Recorder) -> None:
    assert theirs.failed == {}
    assert all(theirs.asked[f"async {name}"] == theirs.asked[f"sync {name}"] for name in CALLS)


# ── The names ───────────────────────────────────────────────────────────────────────────────────────────────────────

WITHOUT_A_USE = {
    "DeleteImagePrewarmRequest",
    "DeleteNetworkRequest",
    "DeleteNetworkStorageRequest",
    "DeleteRepositoryAuthRequest",
    "DeleteTemplateRequest",
    "DeleteTemplateResponse",
    "ErrorResponse",
}
"""Models that no method there takes or returns."""


@pytest.fixture(scope="module")
def surface() -> dict[str, Any]:
    found: dict[str, Any] = run(NEWEST, "surface")
    return found


def test_every_public_name_is_here(surface: dict[str, Any]) -> None:
    assert [name for name in surface["names"] if not hasattr(novita, name)] == []


def test_every_model_is_here_with_its_fields_and_their_json_keys(surface: dict[str, Any]) -> None:
    missing = []
    for name, shape in surface["shapes"].items():
        if name in WITHOUT_A_USE:
            continue
        mine = getattr(models, name)
        fields = getattr(mine, "model_fields", {})
        for attribute, key in shape.items():
            written = fields[attribute].serialization_alias if attribute in fields else None
            if written != key:
                missing.append((name, attribute, key, written))

    assert missing == []


def test_every_method_takes_what_it_takes_there(surface: dict[str, Any]) -> None:
    gpu = NovitaClient("k", base_url="http://127.0.0.1:1").gpu
    different = {}
    for path, wanted in surface["methods"].items():
        resource, _, name = path.partition(".")
        parameters = inspect.signature(getattr(getattr(gpu, resource), name)).parameters
        taken = [[one.name, one.kind.name, repr(one.default)] for one in parameters.values()]
        lacking = [one for one in wanted if one not in taken]
        more = [one for one in taken if one not in wanted and one[1] != "KEYWORD_ONLY"]
        if lacking or more:
            different[path] = (lacking, more)

    assert different == {}


def test_every_error_is_caught_where_it_is_caught_there(surface: dict[str, Any]) -> None:
    for name, bases in surface["errors"].items():
        assert {base.__name__ for base in getattr(novita, name).__mro__} == set(bases)
