"""What is read is what was said, in every form the API has for it; what is sent keeps to the documented limits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from gpuyard.vendors import novita
from gpuyard.vendors.novita.generated import models
from gpuyard.vendors.novita.wire import catalogue, endpoints, images, instances, networks, simple
from tests.vendors.novita.answers import (
    AUTH,
    CLUSTER,
    CPU_PRODUCT,
    ENDPOINT,
    HYBRID_ENDPOINT,
    INSTANCE,
    JOB,
    NETWORK,
    PREWARM,
    PRODUCT,
    STORAGE,
    TEMPLATE,
)
from tests.vendors.novita.cloud import Cloud, json_answer, open_client

EXAMPLES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (catalogue.Cluster, CLUSTER),
    (catalogue.GPUProduct, PRODUCT),
    (catalogue.CPUProduct, CPU_PRODUCT),
    (instances.InstanceInfo, INSTANCE),
    (endpoints.EndpointDetail, ENDPOINT),
    (networks.NetworkModel, NETWORK),
    (networks.NetworkStorageModel, STORAGE),
    (images.Template, TEMPLATE),
    (images.JobModel, JOB),
    (images.ImagePrewarmTask, PREWARM),
]
SAID_TWICE = {"id", "errorMessage"}
"""Keys of the examples that repeat another one, for clients that look there."""

# ── The worked examples ─────────────────────────────────────────────────────────────────────────────────────────────


def lost(said: Any, dumped: Any, where: str = "") -> list[str]:
    """What was said and is not in what is written again. A blank may become nothing."""
    if isinstance(said, dict):
        gone = [f"{where}.{key}" for key in said if key not in dumped and key not in SAID_TWICE]
        return gone + [one for key in said if key in dumped for one in lost(said[key], dumped[key], f"{where}.{key}")]
    if isinstance(said, list):
        return [one for pair in zip(said, dumped, strict=True) for one in lost(*pair, where)]
    return [] if said == dumped or (said == "" and dumped is None) else [f"{where}: {said!r} became {dumped!r}"]


@pytest.mark.parametrize(("shape", "example"), EXAMPLES)
def test_a_worked_example_is_read_without_losing_anything(shape: type[BaseModel], example: dict[str, Any]) -> None:
    read = shape.model_validate(example)

    assert lost(example, read.model_dump(mode="json", by_alias=True)) == []


@pytest.mark.parametrize(("shape", "example"), EXAMPLES)
@pytest.mark.parametrize("by_alias", [True, False])
def test_what_is_dumped_can_be_read_again(shape: type[BaseModel], example: dict[str, Any], by_alias: bool) -> None:
    read = shape.model_validate(example)

    assert shape.model_validate(read.model_dump(by_alias=by_alias)) == read


def test_an_instance_as_a_program_sees_it() -> None:
    instance = instances.InstanceInfo.model_validate(INSTANCE)

    assert instance.status is instances.Status.running
    assert str(instance.status) == "running"
    assert (instance.cpu_num, instance.memory, instance.gpu_num) == ("16", "62", "1")
    assert instance.billing_mode is catalogue.BillingMode.on_demand
    assert instance.spot_status is None
    assert instance.connect_component_ssh is not None
    assert instance.connect_component_ssh.ssh_command == "ssh -p 20010 root@127.0.0.1"
    assert instance.port_mappings is not None
    assert instance.port_mappings[0].endpoint == "http://127.0.0.1:20011"


def test_credentials_do_not_show_their_password() -> None:
    read = images.RepositoryAuth.model_validate({**AUTH, "password": "s3cret"})
    asked = images.CreateRepositoryAuthRequest(name="r", username="u", password=SecretStr("s3cret"))

    assert "s3cret" not in f"{read!r} {asked!r} {read.model_dump_json()}"
    assert read.password.get_secret_value() == "s3cret"


# ── Prices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_text", [False, True])
@given(raw=st.integers(0, 10**9))
def test_a_price_is_in_dollars_and_its_raw_value_is_kept(as_text: bool, raw: int) -> None:
    said = str(raw) if as_text else raw
    product = catalogue.GPUProduct.model_validate(
        {**PRODUCT, "price": said, "spotPrice": said, "monthlyPrice": [{"price": said, "month": 1}]}
    )

    assert (product.price_raw, product.spot_price_raw, product.monthly_price[0].price_raw) == (raw, raw, raw)
    assert product.price == product.spot_price == product.monthly_price[0].price == raw / 100_000
    assert product.model_dump(by_alias=True)["price"] == raw
    assert product.model_dump()["price"] == raw / 100_000


@pytest.mark.parametrize("nothing", [None, "", "missing"])
def test_there_may_be_no_spot_price(nothing: str | None) -> None:
    said = {name: value for name, value in PRODUCT.items() if name != "spotPrice"}
    product = catalogue.GPUProduct.model_validate(said if nothing == "missing" else {**said, "spotPrice": nothing})

    assert (product.spot_price_raw, product.spot_price) == (None, None)


# ── Forms that differ ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["cpuNum", "memory", "gpuNum", "endTime", "spotReclaimTime"])
def test_a_number_passes_where_text_is_documented(key: str) -> None:
    read = instances.InstanceInfo.model_validate({**INSTANCE, key: 3})

    assert read.model_dump(by_alias=True)[key] == "3"


@pytest.mark.parametrize("key", ["network", "node", "statusError", "connectComponentSSH"])
def test_an_array_of_one_passes_for_an_object_and_an_empty_one_for_nothing(key: str) -> None:
    bare = instances.InstanceInfo.model_validate(INSTANCE)
    wrapped = instances.InstanceInfo.model_validate({**INSTANCE, key: [INSTANCE[key]]})
    empty = instances.InstanceInfo.model_validate({**INSTANCE, key: []})

    assert wrapped == bare
    assert empty.model_dump(by_alias=True)[key] is None


@pytest.mark.parametrize("parts", [*itertools.combinations(["workerConfig", "policy", "image", "state", "healthy"], 2)])
def test_the_parts_of_an_endpoint_may_be_arrays_of_one(parts: tuple[str, ...]) -> None:
    wrapped = {**ENDPOINT, **{part: [ENDPOINT[part]] for part in parts}, "ports": {"port": 80}}

    assert endpoints.EndpointDetail.model_validate(wrapped) == endpoints.EndpointDetail.model_validate(ENDPOINT)


@pytest.mark.parametrize("answer", [ENDPOINT, HYBRID_ENDPOINT, {"endpoint": HYBRID_ENDPOINT["endpoint"]}])
async def test_an_endpoint_is_read_bare_enveloped_or_both(manner: str, answer: dict[str, Any]) -> None:
    read = await open_client(manner, Cloud(answer)).gpu.endpoints.get("ep-5b1")

    assert read == endpoints.EndpointDetail.model_validate(ENDPOINT)


@pytest.mark.parametrize(
    ("shape", "example", "key"),
    [
        (instances.InstanceInfo, INSTANCE, "status"),
        (instances.InstanceInfo, INSTANCE, "billingMode"),
        (instances.InstanceInfo, INSTANCE, "spotStatus"),
        (catalogue.GPUProduct, PRODUCT, "inventoryState"),
        (images.Template, TEMPLATE, "channel"),
        (images.JobModel, JOB, "type"),
        (images.ImagePrewarmTask, PREWARM, "state"),
    ],
)
def test_a_word_nobody_knows_yet_stays_what_it_was(shape: type[BaseModel], example: dict[str, Any], key: str) -> None:
    read = shape.model_validate({**example, key: "somethingNew"})

    assert read.model_dump(by_alias=True)[key] == "somethingNew"


def test_every_documented_status_is_known() -> None:
    documented = [
        "toCreate",
        "creating",
        "pulling",
        "running",
        "toStart",
        "starting",
        "toStop",
        "stopping",
        "exited",
        "toRestart",
        "restarting",
        "toRemove",
        "removing",
        "removed",
        "toReset",
        "resetting",
        "migrating",
        "freezing",
    ]

    assert {str(status) for status in instances.Status} == {*documented, "pending"}


@pytest.mark.parametrize("key", ["portMappings", "volumeMounts", "envs", "jobs"])
def test_null_passes_for_a_list(key: str) -> None:
    assert instances.InstanceInfo.model_validate({**INSTANCE, key: None}).model_dump(by_alias=True)[key] is None


@pytest.mark.parametrize("answer", [{"data": [CLUSTER]}, [CLUSTER], {"data": CLUSTER}])
async def test_clusters_are_read_in_an_envelope_or_bare(manner: str, answer: Any) -> None:
    (cluster,) = await open_client(manner, Cloud(answer)).gpu.clusters.list()

    assert cluster.id == "yard-1"


@pytest.mark.parametrize("answer", [{"data": None}, {"data": []}, {}])
async def test_no_storages_are_an_empty_list(manner: str, answer: Any) -> None:
    assert await open_client(manner, Cloud(answer)).gpu.storages.list() == []


@pytest.mark.parametrize("key", ["networks", "network"])
async def test_networks_are_found_under_either_name(manner: str, key: str) -> None:
    cloud = Cloud({key: [{**NETWORK, "state": [NETWORK["state"]]}], "total": "1"})

    (network,) = await open_client(manner, cloud).gpu.networks.list()

    assert network == networks.NetworkModel.model_validate(NETWORK)


# ── Answers that do not tell ────────────────────────────────────────────────────────────────────────────────────────

STORAGE_REQUEST = networks.CreateNetworkStorageRequest(cluster_id="yard-1", storage_name="data", storage_size=100)


@pytest.mark.parametrize("answer", ["st-11", {"storageId": "st-11"}, {"id": "st-11"}, STORAGE])
async def test_a_new_storage_is_whole_even_if_only_its_id_is_answered(manner: str, answer: Any) -> None:
    made = await open_client(manner, Cloud(json_answer(answer))).gpu.storages.create(STORAGE_REQUEST)

    assert (made.storage_id, made.storage_name, made.storage_size) == ("st-11", "data", 100)


async def test_a_changed_storage_is_whole_when_nothing_is_answered(manner: str) -> None:
    request = networks.UpdateNetworkStorageRequest(storage_id="st-11", storage_name="new", storage_size=200)

    changed = await open_client(manner, Cloud({})).gpu.storages.update(request)

    assert (changed.storage_id, changed.storage_name, changed.storage_size) == ("st-11", "new", 200)


async def test_a_changed_network_is_looked_up_when_nothing_is_answered(manner: str) -> None:
    cloud = Cloud({}, {"network": [NETWORK]})

    changed = await open_client(manner, cloud).gpu.networks.update(models.UpdateNetworkRequest(network_id="vpc-1"))

    assert changed.name == "net-a"


async def test_a_network_that_is_an_empty_answer_is_not_found(manner: str) -> None:
    with pytest.raises(novita.NotFoundError, match="vpc-1"):
        await open_client(manner, Cloud({"network": []})).gpu.networks.get("vpc-1")


async def test_a_changed_prewarm_task_is_looked_up_when_nothing_is_answered(manner: str) -> None:
    cloud = Cloud({}, {"data": [{**PREWARM, "id": "pw-0"}, PREWARM], "total": 2})
    request = images.UpdateImagePrewarmRequest(id="pw-1", note="n")

    assert (await open_client(manner, cloud).gpu.image_prewarm.update("pw-1", request)).id == "pw-1"


async def test_new_credentials_are_looked_up_when_their_id_is_not_answered(manner: str) -> None:
    others = [{**AUTH, "id": "ra-0"}, {**AUTH, "id": "ra-2", "username": "you"}]
    cloud = Cloud(None, {"data": [*others, AUTH]})

    assert await open_client(manner, cloud).gpu.registries.create("docker.io", "me", "s3cret") == "ra-1"


async def test_a_changed_endpoint_keeps_its_id_when_nothing_is_answered(manner: str) -> None:
    changed = await open_client(manner, Cloud({})).gpu.endpoints.update("ep-1", models.UpdateEndpointRequest())

    assert changed.id == "ep-1"


async def test_templates_of_both_channels_are_listed_once_each(manner: str) -> None:
    official = {**TEMPLATE, "Id": "tpl-2", "channel": "official"}
    cloud = Cloud({"template": [TEMPLATE]}, {"template": [official, TEMPLATE]})

    assert [one.id for one in await open_client(manner, cloud).gpu.templates.list()] == ["tpl-1", "tpl-2"]


# ── Limits of what is sent ──────────────────────────────────────────────────────────────────────────────────────────

SMALLEST: dict[str, Any] = {"product_id": "p", "gpu_num": 1, "rootfs_size": 10, "image_url": "i"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"product_id": ""},
        {"gpu_num": 0},
        {"gpu_num": 9},
        {"gpu_num": None},
        {"rootfs_size": 9},
        {"rootfs_size": 6145},
        {"rootfs_size": None},
        {"image_url": ""},
        {"image_url": "x" * 501},
        {"name": "x" * 256},
        {"kind": "tpu"},
        {"command": "x" * 2048},
        {"month": -1},
        {"auto_renew_month": 13},
        {"billing_mode": "free"},
        {"envs": [{"key": "a", "value": "b"}] * 101},
        {"envs": [{"key": "x" * 512, "value": ""}]},
        {"network_storages": [{"Id": "s"}] * 31},
        {"ports": "80"},
        {"ports": "80/udp"},
        {"ports": "0/tcp"},
        {"ports": "65536/tcp"},
        {"ports": "2222/tcp"},
        {"ports": "22.5/tcp"},
        {"ports": ",".join(f"{port}/tcp" for port in range(1, 17))},
        {"ports": ",".join(f"{port}/tcp" for port in range(1, 16)), "tools": [{"name": "Jupyter"}]},
    ],
)
def test_a_new_instance_keeps_to_the_limits(wrong: dict[str, Any]) -> None:
    models.CreateInstanceRequest(**SMALLEST)

    with pytest.raises(ValidationError):
        models.CreateInstanceRequest(**(SMALLEST | wrong))


def test_a_cpu_instance_needs_neither_gpus_nor_a_disk_size() -> None:
    request = models.CreateInstanceRequest(product_id="cpu", image_url="i", kind="cpu")

    assert request.to_wire() == {"productId": "cpu", "imageUrl": "i", "kind": "cpu"}


@pytest.mark.parametrize("text", ["80/http", "80/http, 3306/tcp", " 80/http ,", ""])
def test_ports_are_written_as_text_and_read_as_ports(text: str) -> None:
    assert [f"{port.port}/{port.type}" for port in instances.parse_ports(text)] == [
        piece.strip() for piece in text.split(",") if piece.strip()
    ]


def test_attributes_and_json_keys_are_both_accepted() -> None:
    by_key = models.CreateInstanceRequest.model_validate(
        {"productId": "p", "gpuNum": 1, "rootfsSize": 10, "imageUrl": "i", "task_id": "unknown keys are ignored"}
    )

    assert by_key == models.CreateInstanceRequest(**SMALLEST)


def test_an_endpoint_has_exactly_one_port() -> None:
    parts: dict[str, Any] = {
        "worker_config": {"min_num": 0, "max_num": 1, "free_timeout": 1, "max_concurrent": 1, "gpu_num": 1},
        "policy": {"type": "queue", "value": 1},
        "image": {"image": "i"},
        "products": [{"id": "p"}],
    }

    for ports in ({"port": "80"}, [{"port": 80}]):
        assert models.Endpoint(ports=ports, **parts).to_wire()["ports"] == [{"port": "80"}]
    for ports in ([], [{"port": 80}, {"port": 81}], None):
        with pytest.raises(ValidationError):
            models.Endpoint(ports=ports, **parts)


def test_one_name_makes_the_request_of_either_api() -> None:
    assert type(novita.CreateInstanceRequest(name="a", instance_type="A10")) is simple.CreateInstanceRequest
    assert type(novita.CreateInstanceRequest(**SMALLEST)) is instances.CreateInstanceRequest
