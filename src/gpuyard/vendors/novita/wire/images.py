"""Images and what is about them: jobs, templates, registry credentials, prewarming (Novita API, the sections of those names)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_serializer

from gpuyard.vendors.novita.wire.base import Listing, Many, Maybe, One, Open, Shape, key, required_key
from gpuyard.vendors.novita.wire.instances import EnvSetting, PortType

# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class JobType(StrEnum):
    save_image = "saveImage"
    instance_migrate = "instanceMigrate"
    auto_instance_migrate = "autoInstanceMigrate"


class JobState(StrEnum):
    pulling = "pulling"
    running = "running"
    fail = "fail"
    success = "success"
    break_ = "break"


class JobStatus(Shape):
    state: Maybe[Open[JobState]] = None
    error: str | None = None
    message: str | None = key("message", "errorMessage")


class JobModel(Shape):
    id: str = required_key("Id", "id")
    user: str = ""
    type: Open[JobType]
    envs: Many[EnvSetting] | None = None
    state: One[JobStatus]
    log_address: str | None = None
    created_at: str = ""
    """Unix seconds."""
    instance_id: str = ""


class ListJobsResponse(Listing):
    jobs: Many[JobModel] = []
    total: Maybe[int] = None


# ── Templates ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Channel(StrEnum):
    private = "private"
    official = "official"
    community = "community"


class TemplatePort(Shape):
    """The ports of one protocol."""

    type: PortType
    ports: list[int] = Field(max_length=10)


class TemplateVolume(Shape):
    type: str
    size: int
    mount_path: str


class TemplateEnvironmentVariable(Shape):
    key: str
    value: str


class TemplateTool(Shape):
    name: str
    describe: str | None = None
    port: int
    type: Open[PortType]


class RecommendCard(Shape):
    gpu_spec_id: str | None = None
    card_num: str | None = None


class Template(Shape):
    id: str = required_key("Id", "id")
    name: str
    readme: str | None = None
    type: str = "instance"
    channel: Open[Channel]
    image: str
    image_auth: str | None = None
    start_command: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = ""
    entrypoint: str | None = None
    rootfs_size: int
    volumes: Many[TemplateVolume] | None = None
    ports: Many[TemplatePort] | None = None
    envs: Many[TemplateEnvironmentVariable] | None = None
    tools: Many[TemplateTool] | None = None
    user: str | None = None
    create_time: Maybe[datetime] = None
    created_at: str | None = None
    """Unix seconds. The cloud sends this one, older descriptions `create_time`."""
    recommend_cards: Many[RecommendCard] | None = None
    min_cuda_version: str | None = None


class ListTemplatesResponse(Listing):
    template: Many[Template] = []
    page_size: Maybe[int] = None
    page_num: Maybe[int] = None
    total: Maybe[int] = None


class GetTemplateResponse(Shape):
    template: Template


class TemplateCreatePayload(Shape):
    name: str = Field(min_length=1, max_length=255)
    readme: str = ""
    type: Literal["instance"] = "instance"
    channel: Channel = Channel.private
    image: str = Field(min_length=1, max_length=500)
    image_auth: str | None = None
    start_command: str = Field("", max_length=2047)
    entrypoint: str | None = Field(None, max_length=2047)
    rootfs_size: int = Field(gt=0)
    ports: Many[TemplatePort] = []
    volumes: Many[TemplateVolume] = []
    envs: Many[TemplateEnvironmentVariable] = []
    min_cuda_version: str | None = None


class CreateTemplateRequest(Shape):
    template: TemplateCreatePayload


class CreateTemplateResponse(Shape):
    template_id: str


# ── Registry credentials ────────────────────────────────────────────────────────────────────────────────────────────


class RepositoryAuth(Shape):
    """Credentials for a registry, `name` being the registry. The password may come masked."""

    id: str
    name: str
    username: str
    password: SecretStr = SecretStr("")


class ListRepositoryAuthsResponse(Listing):
    data: Many[RepositoryAuth] = []


class CreateRepositoryAuthRequest(Shape):
    name: str = Field(min_length=1, max_length=500)
    username: str = Field(min_length=1, max_length=500)
    password: SecretStr = Field(min_length=1, max_length=500)

    @field_serializer("password", when_used="json")
    def _reveal(self, password: SecretStr) -> str:
        """A request carries the password itself; what is printed does not."""
        return password.get_secret_value()


# ── Prewarming ──────────────────────────────────────────────────────────────────────────────────────────────────────


class PrewarmState(StrEnum):
    pending = "Pending"
    running = "Running"
    succeeded = "Succeeded"
    failed = "Failed"


class ImagePrewarmProduct(Shape):
    product_id: str
    product_name: str = ""


class ImagePrewarmTask(Shape):
    id: str
    image_name: str
    image_url: str
    repository_auth: str | None = None
    cluster_id: str
    cluster_name: str
    products: Many[ImagePrewarmProduct] = []
    image_size: str | None = None
    """Bytes."""
    create_time: str
    """Unix seconds."""
    state: Open[PrewarmState]
    complete_time: str | None = None
    note: str | None = None
    reason: Many[str] | None = None


class ListImagePrewarmTasksResponse(Listing):
    data: Many[ImagePrewarmTask] = []
    total: Maybe[int] = None


class CreateImagePrewarmRequest(Shape):
    """`product_ids` empty or left out means the whole cluster."""

    image_url: str = Field(min_length=1, max_length=500)
    cluster_id: str
    repository_auth: str | None = None
    product_ids: list[str] | None = None
    note: str | None = None


class CreateImagePrewarmResponse(Shape):
    id: str


class UpdateImagePrewarmRequest(Shape):
    id: str
    note: str | None = None


def ids_of(given: str | list[str]) -> list[Any]:
    return [given] if isinstance(given, str) else list(given)
