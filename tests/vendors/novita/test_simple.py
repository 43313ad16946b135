"""The eight operations at `/v1/gpu/*`: the right request, the right answer, the right error, in both manners."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gpuyard.vendors import novita
from gpuyard.vendors.novita import CreateInstanceRequest, InstanceStatus, InstanceType, UpdateInstanceRequest
from gpuyard.vendors.novita.wire import simple
from tests.vendors.novita.cloud import Cloud, json_answer, open_client

INSTANCE = {
    "instance_id": "inst-123",
    "name": "test-instance",
    "instance_type": "A100_80GB",
    "status": "RUNNING",
    "disk_size": 50,
}
DONE = {"instance_id": "inst-123", "success": True, "message": None}


def checks_key(cloud: Cloud) -> None:
    assert cloud.request.headers["authorization"] == "Bearer test-key"
    assert cloud.request.url.host == "api.novita.ai"


async def test_creating_an_instance(manner: str) -> None:
    cloud = Cloud({"instance_id": "inst-123", "status": "PENDING"})
    request = CreateInstanceRequest(name="test-instance", instance_type=InstanceType.A100_80GB)

    async with open_client(manner, cloud) as client:
        response = await client.gpu.create_instance(request)

    assert (response.instance_id, response.status) == ("inst-123", "PENDING")
    body = {"name": "test-instance", "instance_type": "A100_80GB"}
    assert cloud.said == ("POST", "/v1/gpu/instances", body)
    assert cloud.request.headers["content-type"] == "application/json"
    checks_key(cloud)


async def test_creating_an_instance_with_a_disk_and_a_type_nobody_knows_yet(manner: str) -> None:
    cloud = Cloud({"instance_id": "inst-123", "status": "SOMETHING_NEW"})
    request = simple.CreateInstanceRequest(name="a", instance_type="H300", disk_size=100)

    response = await open_client(manner, cloud).gpu.create_instance(request)

    assert cloud.said[2] == {"name": "a", "instance_type": "H300", "disk_size": 100}
    assert response.status == "SOMETHING_NEW"


async def test_listing_instances(manner: str) -> None:
    cloud = Cloud({"instances": [INSTANCE], "total": 1})

    listed = await open_client(manner, cloud).gpu.list_instances()

    assert (listed.total, [one.instance_id for one in listed.instances]) == (1, ["inst-123"])
    assert listed.instances[0].status is InstanceStatus.RUNNING
    assert cloud.said == ("GET", "/v1/gpu/instances", None)
    checks_key(cloud)


async def test_getting_an_instance(manner: str) -> None:
    cloud = Cloud(INSTANCE)

    instance = await open_client(manner, cloud).gpu.get_instance("inst-123")

    assert (instance.name, instance.instance_type, instance.disk_size) == ("test-instance", "A100_80GB", 50)
    assert cloud.said == ("GET", "/v1/gpu/instances/inst-123", None)
    checks_key(cloud)


async def test_an_id_stays_one_segment_of_the_path(manner: str) -> None:
    cloud = Cloud(INSTANCE)

    await open_client(manner, cloud).gpu.get_instance("../pricing?x=1#y")

    assert cloud.said[1] == "/v1/gpu/instances/..%2Fpricing%3Fx%3D1%23y"


async def test_an_empty_id_asks_for_nothing(manner: str) -> None:
    cloud = Cloud()

    with pytest.raises(ValueError, match="empty"):
        await open_client(manner, cloud).gpu.delete_instance("")

    assert cloud.asked == []


async def test_updating_an_instance_sends_only_what_changes(manner: str) -> None:
    cloud = Cloud({**INSTANCE, "name": "new"})

    changed = await open_client(manner, cloud).gpu.update_instance("inst-123", UpdateInstanceRequest(name="new"))

    assert changed.name == "new"
    assert cloud.said == ("PATCH", "/v1/gpu/instances/inst-123", {"name": "new"})
    checks_key(cloud)


@pytest.mark.parametrize(
    ("method", "verb", "path"),
    [
        ("start_instance", "POST", "/v1/gpu/instances/inst-123/start"),
        ("stop_instance", "POST", "/v1/gpu/instances/inst-123/stop"),
        ("delete_instance", "DELETE", "/v1/gpu/instances/inst-123"),
    ],
)
@pytest.mark.parametrize("answer", [DONE, {"success": True}, None], ids=["whole", "short", "empty"])
async def test_acting_on_an_instance(manner: str, method: str, verb: str, path: str, answer: Any) -> None:
    cloud = Cloud(answer)

    done = await getattr(open_client(manner, cloud).gpu, method)("inst-123")

    assert (done.instance_id, done.success, done.message) == ("inst-123", True, None)
    assert cloud.said == (verb, path, None)
    checks_key(cloud)


async def test_pricing_is_in_dollars_per_hour(manner: str) -> None:
    cloud = Cloud({"pricing": [{"instance_type": "A10", "price_per_hour": 0.9, "available": True}]})

    (price,) = (await open_client(manner, cloud).gpu.get_pricing()).pricing

    assert (price.instance_type, price.price_per_hour, price.available) == (InstanceType.A10, 0.9, True)
    assert cloud.said == ("GET", "/v1/gpu/pricing", None)
    checks_key(cloud)


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE = CreateInstanceRequest(name="a", instance_type="A10")
CALLS = {
    "create": lambda gpu: gpu.create_instance(CREATE),
    "list": lambda gpu: gpu.list_instances(),
    "get": lambda gpu: gpu.get_instance("i"),
    "update": lambda gpu: gpu.update_instance("i", UpdateInstanceRequest(name="b")),
    "start": lambda gpu: gpu.start_instance("i"),
    "stop": lambda gpu: gpu.stop_instance("i"),
    "delete": lambda gpu: gpu.delete_instance("i"),
    "pricing": lambda gpu: gpu.get_pricing(),
    "real": lambda gpu: gpu.clusters.list(),
}
ERRORS = {
    400: novita.BadRequestError,
    401: novita.AuthenticationError,
    404: novita.NotFoundError,
    429: novita.RateLimitError,
    500: novita.APIError,
    503: novita.APIError,
    409: novita.APIError,
    302: novita.APIError,
}


@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_refusal_is_its_error_and_is_asked_for_once(manner: str, call: str, status: int) -> None:
    cloud = Cloud(json_answer({"code": status, "message": "no"}, status, location="/elsewhere"))

    with pytest.raises(novita.NovitaError) as raised:
        await CALLS[call](open_client(manner, cloud).gpu)

    assert type(raised.value) is ERRORS[status]
    assert raised.value.status_code == status
    assert len(cloud.asked) == 1


async def test_a_bad_request_carries_the_whole_answer(manner: str) -> None:
    cloud = Cloud(json_answer({"message": "disk_size is too small", "details": {"field": "disk_size"}}, 400))

    with pytest.raises(novita.BadRequestError, match="disk_size is too small") as raised:
        await open_client(manner, cloud).gpu.create_instance(CREATE)

    assert raised.value.details == {"message": "disk_size is too small", "details": {"field": "disk_size"}}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b'"no"', b"\xff\xfe", b'{"message": null}'])
@pytest.mark.parametrize("status", ERRORS)
async def test_a_refusal_in_any_form_is_its_error(manner: str, status: int, body: bytes) -> None:
    cloud = Cloud(httpx.Response(status, content=body))

    with pytest.raises(novita.NovitaError) as raised:
        await open_client(manner, cloud).gpu.list_instances()

    assert type(raised.value) is ERRORS[status]


async def test_a_server_error_carries_its_text(manner: str) -> None:
    cloud = Cloud(httpx.Response(502, text="upstream is away"))

    with pytest.raises(novita.APIError, match="502") as raised:
        await open_client(manner, cloud).gpu.list_instances()

    assert (raised.value.status_code, raised.value.response_body) == (502, "upstream is away")


@pytest.mark.parametrize("cause", [httpx.ReadTimeout, httpx.ConnectTimeout, httpx.WriteTimeout, httpx.PoolTimeout])
async def test_no_answer_in_time_is_the_packages_own_timeout(manner: str, cause: type[httpx.TimeoutException]) -> None:
    cloud = Cloud(cause("too late"))

    with pytest.raises(novita.TimeoutError) as raised:
        await open_client(manner, cloud).gpu.create_instance(CREATE)

    assert raised.value.status_code is None
    assert isinstance(raised.value.__cause__, cause)
    assert len(cloud.asked) == 1


async def test_no_connection_is_an_error_of_this_package_too(manner: str) -> None:
    cloud = Cloud(httpx.ConnectError("refused"))

    with pytest.raises(novita.APIError, match=r"api\.novita\.ai.*refused") as raised:
        await open_client(manner, cloud).gpu.list_instances()

    assert type(raised.value) is novita.ConnectionFailedError


@pytest.mark.parametrize("answer", [b"<html>", b"", b"[1]", b'{"instances": [{"name": "no id"}]}'])
async def test_a_success_that_cannot_be_read_is_an_error_that_shows_it(manner: str, answer: bytes) -> None:
    cloud = Cloud(httpx.Response(200, content=answer))

    with pytest.raises(novita.UnexpectedAnswerError) as raised:
        await open_client(manner, cloud).gpu.list_instances()

    assert raised.value.response_body == answer.decode()
    assert isinstance(raised.value, novita.APIError | ValueError)
