"""How a client is made and closed, what it does when told to ask again or slowly, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import httpx
import pytest

from gpuyard.vendors import novita
from gpuyard.vendors.novita import core
from gpuyard.vendors.novita.generated import models
from tests.vendors.novita.cloud import AT_ONCE, REAL, Cloud, json_answer, open_client
from tests.yards import SOURCE

NO_INSTANCES = {"instances": [], "total": 0}
BUSY = {"code": 503, "message": "busy"}


@pytest.fixture(autouse=True)
def no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOVITA_API_KEY", raising=False)


# ── Making and closing ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_key_comes_from_the_environment_when_none_is_given(
    manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "from-outside")
    cloud = Cloud(NO_INSTANCES)

    await open_client(manner, cloud, key=None).gpu.list_instances()

    assert cloud.request.headers["authorization"] == "Bearer from-outside"


async def test_the_key_that_is_given_wins(manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "from-outside")
    cloud = Cloud(NO_INSTANCES)

    await open_client(manner, cloud, key="given").gpu.list_instances()

    assert cloud.request.headers["authorization"] == "Bearer given"


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_no_client_is_made(manner: str, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "")

    with pytest.raises(novita.AuthenticationError, match="NOVITA_API_KEY"):
        open_client(manner, Cloud(), key=key)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        (None, "https://api.novita.ai"),
        ("http://yard:8080", "http://yard:8080"),
        ("http://yard/prefix", "http://yard/prefix"),
        ("http://yard/prefix/", "http://yard/prefix"),
    ],
)
async def test_paths_follow_the_base_url(manner: str, base_url: str | None, url: str) -> None:
    cloud = Cloud({"data": []})

    await open_client(manner, cloud, base_url=base_url).gpu.clusters.list()

    assert str(cloud.request.url) == f"{url}{REAL}/clusters"


async def test_the_default_base_url_is_read_when_a_client_is_made(manner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "DEFAULT_BASE_URL", "http://elsewhere")
    cloud = Cloud({"data": []})

    await open_client(manner, cloud).gpu.clusters.list()

    assert cloud.request.url.host == "elsewhere"


async def test_the_timeout_is_a_minute_unless_said_otherwise(manner: str) -> None:
    patient, hasty = Cloud(NO_INSTANCES), Cloud(NO_INSTANCES)

    await open_client(manner, patient).gpu.list_instances()
    await open_client(manner, hasty, timeout=1.5).gpu.list_instances()

    assert set(patient.request.extensions["timeout"].values()) == {60.0}
    assert set(hasty.request.extensions["timeout"].values()) == {1.5}


async def test_a_closed_client_sends_nothing_and_may_be_closed_again(manner: str) -> None:
    cloud = Cloud()
    async with open_client(manner, cloud) as client:
        pass

    await client.aclose()

    with pytest.raises(RuntimeError):
        await client.gpu.list_instances()


# ── Asking again ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "passing",
    [json_answer, lambda *_, **__: httpx.ReadTimeout("late"), lambda *_, **__: httpx.RemoteProtocolError("cut")],
    ids=["503", "timeout", "cut"],
)
async def test_a_read_is_asked_again_where_that_was_allowed(manner: str, passing: object) -> None:
    cloud = Cloud(*(passing(BUSY, 503) for _ in range(3)), NO_INSTANCES)  # type: ignore[operator]

    assert await open_client(manner, cloud, retries=AT_ONCE).gpu.instances.list() == []

    assert len(cloud.asked) == 4


async def test_the_last_error_is_raised_when_all_tries_are_used(manner: str) -> None:
    cloud = Cloud(*(json_answer(BUSY, 503) for _ in range(4)))

    with pytest.raises(novita.APIError, match="busy"):
        await open_client(manner, cloud, retries=AT_ONCE).gpu.instances.list()

    assert len(cloud.asked) == 4


CREATE = models.CreateInstanceRequest(product_id="p", gpu_num=1, rootfs_size=50, image_url="i")


@pytest.mark.parametrize(
    "doubtful", [httpx.ReadTimeout("late"), httpx.ReadError("cut"), 500, 503], ids=["timeout", "cut", "500", "503"]
)
async def test_what_may_have_made_a_machine_is_never_asked_again(manner: str, doubtful: Exception | int) -> None:
    cloud = Cloud(json_answer(BUSY, doubtful) if isinstance(doubtful, int) else doubtful)

    with pytest.raises(novita.NovitaError):
        await open_client(manner, cloud, retries=AT_ONCE).gpu.instances.create(CREATE)

    assert len(cloud.asked) == 1


@pytest.mark.parametrize("harmless", [httpx.ConnectError("refused"), httpx.ConnectTimeout("late"), 429])
async def test_what_certainly_did_not_happen_is_asked_again(manner: str, harmless: Exception | int) -> None:
    cloud = Cloud(json_answer({}, harmless) if isinstance(harmless, int) else harmless, {"id": "i-1"})

    made = await open_client(manner, cloud, retries=AT_ONCE).gpu.instances.create(CREATE)

    assert made.id == "i-1"


async def test_requests_wait_for_their_turn(manner: str) -> None:
    cloud = Cloud(*[{"data": []}] * 5)
    client = open_client(manner, cloud, rate_limit=novita.RateLimit(20, burst=2))
    begun = time.monotonic()

    for _ in range(5):
        await client.gpu.clusters.list()

    assert time.monotonic() - begun >= 3 / 20


@pytest.mark.parametrize("limit", [0, -1, 0.0])
def test_a_rate_nobody_can_keep_is_refused(manner: str, limit: float) -> None:
    with pytest.raises(ValueError, match="per_second"):
        open_client(manner, Cloud(), rate_limit=limit)


# ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def network(number: int) -> dict[str, object]:
    return {"Id": f"vpc-{number}", "name": f"net-{number}", "state": {"state": "ready"}}


async def test_iterating_asks_for_page_after_page_and_stops_at_the_total(manner: str) -> None:
    cloud = Cloud(
        {"networks": [network(1), network(2)], "total": 3},
        {"networks": [network(3)], "total": 3},
    )

    found = [one.id async for one in open_client(manner, cloud).gpu.networks.iterate(page_size=2, name="net")]

    assert found == ["vpc-1", "vpc-2", "vpc-3"]
    assert [dict(one.url.params) for one in cloud.asked] == [
        {"pageSize": "2", "pageNum": "0", "name": "net"},
        {"pageSize": "2", "pageNum": "1", "name": "net"},
    ]


@pytest.mark.parametrize(
    ("resource", "key", "size_and_page"),
    [
        ("storages", "data", {"pageSize": "50", "pageNo": "1"}),
        ("image_prewarm", "data", {"pageSize": "50", "page": "1"}),
        ("instances", "instances", {"pageSize": "50", "pageNum": "0"}),
        ("jobs", "jobs", {"pageSize": "50", "pageNum": "0"}),
        ("endpoints", "endpoints", {"pageSize": "50", "pageNum": "0"}),
    ],
)
async def test_every_list_has_its_own_words_for_pages(
    manner: str, resource: str, key: str, size_and_page: dict[str, str]
) -> None:
    cloud = Cloud({key: [], "total": 0}, {key: [], "total": 0})

    assert [one async for one in getattr(open_client(manner, cloud).gpu, resource).iterate()] == []

    assert dict(cloud.asked[0].url.params) == size_and_page


# ── Importing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_importing_the_package_loads_nothing_until_a_name_is_used() -> None:
    code = "import sys, json; from gpuyard.vendors import novita; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )

    assert not {"httpx", "pydantic", "asyncio", "gpuyard.sdk", "gpuyard.domain"} & set(json.loads(run.stdout))


def test_every_name_the_package_promises_is_there() -> None:
    assert [name for name in novita.__all__ if not hasattr(novita, name)] == []
    with pytest.raises(AttributeError):
        _ = novita.Nonsense
