"""Every call of the published SDK, as a program written for it makes it. Needs nothing but a client and a module of models,
so that the same lines run in the environment of the published package and in ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def ask(method: Callable[..., Any], *args: Any) -> Any:
    """The oldest release takes the fields of some requests as keywords, by JSON key."""
    if any(one.kind is one.VAR_KEYWORD for one in inspect.signature(method).parameters.values()):
        *ids, request = args
        return method(*ids, **request.model_dump(mode="json", by_alias=True, exclude_none=True))
    return method(*args)


def prewarm(gpu: Any) -> Any:
    return getattr(gpu, "image_prewarm", None) or gpu.images  # the oldest release's name


def new_instance(m: Any) -> Any:
    return m.CreateInstanceRequest(
        name="train-a",
        product_id="4090.16c62g",
        gpu_num=1,
        rootfs_size=50,
        image_url="docker.io/library/ubuntu:22.04",
        kind=m.Kind.gpu,
        image_auth_id="ra-1",
        ports="80/http, 3306/tcp",
        envs=[m.Env(key="MODE", value="demo")],
        tools=[m.Tool(name="Jupyter", port="8888", type="http")],
        command="bash -c 'sleep infinity'",
        cluster_id="yard-1",
        network_storages=[m.NetworkStorage(id="st-11", mount_point="/network")],
        network_id="vpc-1",
        month=0,
        billing_mode=m.BillingMode.on_demand,
    )


def smallest_instance(m: Any) -> Any:
    return m.CreateInstanceRequest(product_id="p", gpu_num=1, rootfs_size=10, image_url="ubuntu", kind="gpu")


def upgrade(m: Any) -> Any:
    return m.UpgradeInstanceRequest(
        instance_id="i-1",
        image_url="ubuntu:24.04",
        envs=[m.Env(key="MODE", value="")],
        command="",
        save=True,
        network_volume=m.NetworkVolume(volume_mounts=[m.VolumeMount(type="network", id="st-11", mount_path="/data")]),
    )


def template(m: Any) -> Any:
    return m.CreateTemplateRequest(
        template=m.TemplateCreatePayload(
            name="base",
            readme="# Base",
            type="instance",
            channel=m.Channel.private,
            image="ubuntu:22.04",
            start_command="",
            rootfs_size=50,
            ports=[m.TemplatePort(type=m.Type9.http, ports=[80, 8188])],
            volumes=[m.TemplateVolume(type="local", size=30, mount_path="/data")],
            envs=[m.TemplateEnvironmentVariable(key="A", value="1")],
        )
    )


def part(shape: Any, name: str, value: dict[str, Any]) -> Any:
    """As a plain object: the classes have other names in every release. The oldest wants arrays of one."""
    return [value] if "list" in str(shape.model_fields[name].annotation) else value


def new_endpoint(m: Any) -> Any:
    worker_config = {"minNum": 1, "maxNum": 2, "freeTimeout": 300, "maxConcurrent": 1, "gpuNum": 1}
    image = {"image": "nginx", "authId": "ra-1", "command": "run"}
    return m.CreateEndpointRequest(
        endpoint=m.Endpoint(
            name="demo",
            app_name="demo",
            worker_config=part(m.Endpoint, "worker_config", worker_config),
            ports=part(m.Endpoint, "ports", {"port": "80"}),
            policy=part(m.Endpoint, "policy", {"type": "queue", "value": 60}),
            image=part(m.Endpoint, "image", image),
            products=[{"id": "SL-serverless-3"}],
            rootfs_size=100,
            volume_mounts=[{"type": "network", "id": "st-11", "mountPath": "/network"}],
            cluster_id="yard-1",
            envs=[{"key": "A", "value": "1"}],
            healthy=part(m.Endpoint, "healthy", {"path": "/health"}),
        )
    )


def changed_endpoint(m: Any) -> Any:
    return m.UpdateEndpointRequest(
        name="demo-2",
        worker_config=[{"minNum": 1, "maxNum": 2, "freeTimeout": 60, "maxConcurrent": 1, "gpuNum": 1}],
        ports=[{"port": "80"}],
        policy=[{"type": "concurrency", "value": 25}],
        image=[{"image": "nginx"}],
    )


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "clusters.list": lambda gpu, m: gpu.clusters.list(),
    "products.list": lambda gpu, m: gpu.products.list(),
    "products.list, filtered": lambda gpu, m: gpu.products.list(
        cluster_id="yard-1", gpu_num=2, product_name="RTX 4090", billing_method="spot"
    ),
    "products.list_cpu": lambda gpu, m: gpu.products.list_cpu(cluster_id="yard-1", product_name="cpu"),
    "instances.create": lambda gpu, m: gpu.instances.create(new_instance(m)),
    "instances.create, smallest": lambda gpu, m: gpu.instances.create(smallest_instance(m)),
    "instances.list": lambda gpu, m: gpu.instances.list(),
    "instances.list, filtered": lambda gpu, m: gpu.instances.list(
        page_size=10, page_num=0, name="train a", product_name="4090", status="running"
    ),
    "instances.get": lambda gpu, m: gpu.instances.get("i-7f3a90c2d1"),
    "instances.edit": lambda gpu, m: gpu.instances.edit(
        m.EditInstanceRequest(instance_id="i-1", ports=[m.Port(port=80, type=m.Type.http)], expand_root_disk=10)
    ),
    "instances.start": lambda gpu, m: gpu.instances.start("i-1"),
    "instances.stop": lambda gpu, m: gpu.instances.stop("i-1"),
    "instances.delete": lambda gpu, m: gpu.instances.delete("i-1"),
    "instances.restart": lambda gpu, m: gpu.instances.restart("i-1"),
    "instances.migrate": lambda gpu, m: gpu.instances.migrate("i-1"),
    "instances.upgrade": lambda gpu, m: gpu.instances.upgrade(upgrade(m)),
    "instances.renew": lambda gpu, m: gpu.instances.renew("i-1", 2),
    "instances.convert_to_monthly": lambda gpu, m: gpu.instances.convert_to_monthly("i-1", 1),
    "instances.save_image": lambda gpu, m: gpu.instances.save_image(
        m.SaveImageRequest(instance_id="i-1", image="docker.io/me/x:1", registry_auth_id="ra-1")
    ),
    "jobs.list": lambda gpu, m: gpu.jobs.list(),
    "jobs.break_job": lambda gpu, m: gpu.jobs.break_job("job-1"),
    "metrics.get": lambda gpu, m: gpu.metrics.get("i-1"),
    "networks.list": lambda gpu, m: gpu.networks.list(),
    "networks.get": lambda gpu, m: gpu.networks.get("vpc-1"),
    "networks.create": lambda gpu, m: ask(
        gpu.networks.create, m.CreateNetworkRequest(cluster_id="yard-1", name="net-a")
    ),
    "networks.update": lambda gpu, m: ask(
        gpu.networks.update,
        *(["vpc-1"] if "network_id" in inspect.signature(gpu.networks.update).parameters else []),
        m.UpdateNetworkRequest(network_id="vpc-1", name="net-b"),
    ),
    "networks.delete": lambda gpu, m: gpu.networks.delete("vpc-1"),
    "storages.list": lambda gpu, m: gpu.storages.list(),
    "storages.create": lambda gpu, m: ask(
        gpu.storages.create,
        m.CreateNetworkStorageRequest(cluster_id="yard-1", storage_name="data", storage_size=100),
    ),
    "storages.update": lambda gpu, m: ask(
        gpu.storages.update,
        *(["st-11"] if "storage_id" in inspect.signature(gpu.storages.update).parameters else []),
        m.UpdateNetworkStorageRequest(storage_id="st-11", storage_name="data", storage_size=200),
    ),
    "storages.delete": lambda gpu, m: gpu.storages.delete("st-11"),
    "templates.list": lambda gpu, m: gpu.templates.list(),
    "templates.get": lambda gpu, m: gpu.templates.get("tpl-1"),
    "templates.create": lambda gpu, m: ask(gpu.templates.create, template(m)),
    "templates.delete": lambda gpu, m: gpu.templates.delete("tpl-1"),
    "registries.list": lambda gpu, m: gpu.registries.list(),
    "registries.create": lambda gpu, m: gpu.registries.create("docker.io", "me", "s3cret"),
    "registries.delete": lambda gpu, m: gpu.registries.delete("ra-1"),
    "image_prewarm.get_quota": lambda gpu, m: prewarm(gpu).get_quota(),
    "image_prewarm.list": lambda gpu, m: prewarm(gpu).list(),
    "image_prewarm.create": lambda gpu, m: ask(
        prewarm(gpu).create,
        m.CreateImagePrewarmRequest(
            image_url="ubuntu:22.04", cluster_id="yard-1", repository_auth="ra-1", product_ids=["4090"], note="n"
        ),
    ),
    "image_prewarm.update": lambda gpu, m: ask(
        prewarm(gpu).update, "pw-1", m.UpdateImagePrewarmRequest(id="pw-1", note="n2")
    ),
    "image_prewarm.delete": lambda gpu, m: prewarm(gpu).delete("pw-1"),
    "image_prewarm.delete, several": lambda gpu, m: prewarm(gpu).delete(["pw-1", "pw-2"]),
    "endpoints.get_limit_ranges": lambda gpu, m: gpu.endpoints.get_limit_ranges(),
    "endpoints.list": lambda gpu, m: gpu.endpoints.list(),
    "endpoints.get": lambda gpu, m: gpu.endpoints.get("ep-5b1"),
    "endpoints.create": lambda gpu, m: ask(gpu.endpoints.create, new_endpoint(m)),
    "endpoints.update": lambda gpu, m: ask(gpu.endpoints.update, "ep-5b1", changed_endpoint(m)),
    "endpoints.delete": lambda gpu, m: gpu.endpoints.delete("ep-5b1"),
}
