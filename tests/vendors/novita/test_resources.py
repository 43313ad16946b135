"""Every resource of the real API: what each method asks, word for word, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpuyard.vendors import novita
from gpuyard.vendors.novita.generated import models
from gpuyard.vendors.novita.wire import catalogue, endpoints, images, instances, networks
from tests.vendors.novita.answers import (
    ANSWERS,
    AUTH,
    CLUSTER,
    CPU_PRODUCT,
    ENDPOINT,
    INSTANCE,
    JOB,
    METRICS,
    NETWORK,
    PREWARM,
    PRODUCT,
    STORAGE,
    TEMPLATE,
)
from tests.vendors.novita.calls import CALLS, template
from tests.vendors.novita.cloud import Cloud, open_client, said

TRANSCRIPT = Path(__file__).with_name("requests.txt")

MORE_CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "products.list, by size": lambda gpu, m: gpu.products.list(
        min_cpu_per_gpu=8, min_memory_per_gpu=32, min_rootfs_size=100
    ),
    "instances.set_auto_renew": lambda gpu, m: gpu.instances.set_auto_renew(["i-1", "i-2"], True, auto_renew_month=3),
    "instances.set_auto_migrate": lambda gpu, m: gpu.instances.set_auto_migrate("i-1", True, system_disk=False),
    "jobs.list, filtered": lambda gpu, m: gpu.jobs.list(
        page_size=5,
        page_num=1,
        job_id="job-1",
        state="running",
        type="saveImage",
        start_time=1,
        end_time=0,
        creators="u",
    ),
    "metrics.get, of a while": lambda gpu, m: gpu.metrics.get("i-1", start_time=100, end_time=700, interval=15),
    "networks.list, filtered": lambda gpu, m: gpu.networks.list(page_size=5, page_num=0, name="net", creators="u"),
    "storages.list, filtered": lambda gpu, m: gpu.storages.list(
        page_size=5, page_num=1, name="da ta", storage_id="st-11"
    ),
    "templates.list, of one channel": lambda gpu, m: gpu.templates.list(
        channel="community", name="base", page_size=5, page_num=0
    ),
    "templates.update": lambda gpu, m: gpu.templates.update("tpl-1", template(m)),
    "image_prewarm.list, filtered": lambda gpu, m: gpu.image_prewarm.list(
        page_size=5, page_num=1, state="Running", cluster_id="yard-1", name="ubuntu"
    ),
    "endpoints.list, a page": lambda gpu, m: gpu.endpoints.list(page_size=5, page_num=0),
    "endpoints.drain_worker": lambda gpu, m: gpu.endpoints.drain_worker("w-1"),
}
"""What the published SDK has no words for."""
ALL_CALLS = CALLS | MORE_CALLS


class AnsweringCloud(Cloud):
    """Knows the answer to everything."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(200, json=ANSWERS.get(f"{request.method} {request.url.path}", {}))


async def called(manner: str, name: str) -> tuple[Any, list[httpx.Request]]:
    cloud = AnsweringCloud()
    async with open_client(manner, cloud) as client:
        return await ALL_CALLS[name](client.gpu, models), cloud.asked


def lines(name: str, asked: list[httpx.Request]) -> str:
    text = f"# {name}\n"
    for method, target, body in map(said, asked):
        text += f"{method} {target}\n" + (f"{json.dumps(body)}\n" if body is not None else "")
    return text


def transcript() -> str:
    """What `requests.txt` should say."""
    return "\n".join(lines(name, asyncio.run(called("sync", name))[1]) for name in ALL_CALLS)


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    texts = TRANSCRIPT.read_text().split("\n\n")
    return {text.partition("\n")[0].removeprefix("# "): text.strip() for text in texts}


@pytest.mark.parametrize("name", ALL_CALLS)
async def test_a_method_asks_what_is_written(manner: str, name: str, written: dict[str, str]) -> None:
    _, asked = await called(manner, name)

    assert lines(name, asked).strip() == written[name]
    assert {one.headers["authorization"] for one in asked} == {"Bearer test-key"}
    assert {one.headers.get("content-type") for one in asked if one.method == "POST"} <= {"application/json"}


def shaped(shape: Any, example: dict[str, Any]) -> Any:
    return shape.model_validate(example)


RESULTS: dict[str, Any] = {
    "clusters.list": [shaped(catalogue.Cluster, CLUSTER)],
    "products.list": [shaped(catalogue.GPUProduct, PRODUCT)],
    "products.list_cpu": [shaped(catalogue.CPUProduct, CPU_PRODUCT)],
    "instances.create": instances.CreateInstanceResponse(id="i-7f3a90c2d1"),
    "instances.list": [shaped(instances.InstanceInfo, {**INSTANCE, "spotStatus": None})],
    "instances.get": shaped(instances.InstanceInfo, {**INSTANCE, "spotStatus": None}),
    "instances.save_image": "job-1",
    "jobs.list": [shaped(images.JobModel, JOB)],
    "metrics.get": METRICS,
    "networks.list": [shaped(networks.NetworkModel, NETWORK)],
    "networks.get": shaped(networks.NetworkModel, NETWORK),
    "networks.create": shaped(networks.NetworkModel, NETWORK),
    "networks.update": shaped(networks.NetworkModel, NETWORK),
    "storages.list": [shaped(networks.NetworkStorageModel, STORAGE)],
    "storages.create": shaped(networks.NetworkStorageModel, STORAGE),
    "storages.update": shaped(networks.NetworkStorageModel, STORAGE),
    "templates.list": [shaped(images.Template, TEMPLATE)],
    "templates.get": shaped(images.Template, TEMPLATE),
    "templates.create": images.CreateTemplateResponse(template_id="tpl-1"),
    "templates.update": images.CreateTemplateResponse(template_id="tpl-1"),
    "registries.list": [shaped(images.RepositoryAuth, AUTH)],
    "registries.create": "ra-1",
    "image_prewarm.get_quota": {"total": 1, "limit": 10, "perImageSize": 50},
    "image_prewarm.list": [shaped(images.ImagePrewarmTask, PREWARM)],
    "image_prewarm.create": images.CreateImagePrewarmResponse(id="pw-1"),
    "image_prewarm.update": shaped(images.ImagePrewarmTask, PREWARM),
    "endpoints.get_limit_ranges": {"minRootfsSize": 10, "maxRootfsSize": 100, "cudaVersionList": ["12.4"]},
    "endpoints.list": [shaped(endpoints.EndpointDetail, ENDPOINT)],
    "endpoints.get": shaped(endpoints.EndpointDetail, ENDPOINT),
    "endpoints.create": shaped(endpoints.EndpointDetail, ENDPOINT),
    "endpoints.update": shaped(endpoints.EndpointDetail, ENDPOINT),
}
"""The calls not named here return None, as what they ask for is only begun."""


@pytest.mark.parametrize("name", [name for name in ALL_CALLS if "," not in name])
async def test_a_method_returns_what_was_answered(manner: str, name: str) -> None:
    result, _ = await called(manner, name)

    assert result == RESULTS.get(name)


@pytest.mark.parametrize("name", [name for name in ALL_CALLS if name not in RESULTS and "," not in name])
async def test_an_action_is_done_however_empty_the_answer_is(manner: str, name: str) -> None:
    cloud = Cloud(None)

    assert await ALL_CALLS[name](open_client(manner, cloud).gpu, models) is None


@pytest.mark.parametrize("name", ALL_CALLS)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, novita.BadRequestError), (401, novita.AuthenticationError), (404, novita.NotFoundError)],
)
async def test_every_method_raises_what_the_answer_means(
    manner: str, name: str, status: int, kind: type[Exception]
) -> None:
    cloud = Cloud(httpx.Response(status, json={"code": status, "message": "no"}))

    with pytest.raises(kind):
        await ALL_CALLS[name](open_client(manner, cloud).gpu, models)
