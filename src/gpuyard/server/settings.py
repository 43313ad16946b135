"""Every setting of a yard: from `gpuyard.yaml`, `GPUYARD_*` and the command line, the later over the earlier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RateLimit(Section):
    """Answers 429 with Retry-After to whoever asks faster than this for long."""

    per_second: float = Field(
        default=500, ge=0, description="Requests per second one key may make in the long run; 0 for no limit."
    )
    burst: int = Field(default=2000, ge=1, description="Requests one key may make at once before the rate counts.")
    failures_per_minute: float = Field(
        default=60,
        ge=0,
        description="Requests without a good key that one address may make per minute; 0 for no limit.",
    )
    logins_per_minute: float = Field(
        default=10, gt=0, description="Passwords one address may try per minute at one instance's login page."
    )


class BodyLimits(Section):
    """Answers 413 to a larger body. Files and archives stream and are limited by the instance's disk alone."""

    json_bytes: int = Field(default=1_000_000, ge=1024, description="Largest JSON body, executions apart.")
    execution_bytes: int = Field(
        default=66 * 1024 * 1024, ge=1024, description="Largest body that orders an execution or feeds its input."
    )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="GPUYARD_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    host: str = Field(
        default="127.0.0.1", description="The address to listen on; `0.0.0.0` lets other machines in.", min_length=1
    )
    port: Port = Field(default=8470, description="The port to listen on; 0 takes a free one and prints it.")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]+/?$",
        description="How clients reach the yard, where that is not `http://host:port`: behind a reverse proxy.",
    )
    trusted_proxies: list[str] = Field(
        default=["127.0.0.1", "::1"],
        description="Addresses of reverse proxies whose X-Forwarded-* headers are believed.",
    )
    home: Path = Field(
        default=Path("~/.config/gpuyard"),
        description="Holds `credentials.json`, and the data unless `data` says otherwise.",
    )
    data: Path | None = Field(
        default=None, description="The data directory: database, journals, instances. `data` below `home` unless set."
    )
    database: str | None = Field(
        default=None,
        description="`postgresql://user@host/name` or `sqlite:///path`; a SQLite file in the data directory unless set.",
    )
    owner_key: SecretStr | None = Field(
        default=None,
        description="The key of the owner that the first start makes; a random one unless set.",
        min_length=16,
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What the yard derives its instances' passwords from; servers that share a database must share it. "
        "Random and kept in the data directory unless set.",
    )
    currency: str = Field(default="EUR", pattern="^[A-Z]{3}$", description="What all prices are in.")
    providers: dict[str, dict[str, Any]] = Field(
        default={"local": {}}, description="Which providers to use, each with its own settings.", min_length=1
    )
    simulate: str | None = Field(
        default=None,
        description="GPUs the local provider pretends to have: `nvidia-rtx-3090=2,nvidia-rtx-4090=1`; `none` for none. "
        "Where there is no real GPU and nothing is set, a few.",
    )
    prices: dict[str, float | str] = Field(
        default={}, description="Price of one GPU per hour, by GPU type: `nvidia-rtx-3090: 0.20`; `cpu` for no GPU."
    )
    sandbox: Literal["auto", "bwrap", "none"] = Field(
        default="auto",
        description="Whether local instances get their own view of the file system and processes: `bwrap` insists, "
        "`none` does without, `auto` uses it where it works and warns where not.",
    )
    warm: int | None = Field(
        default=None, ge=0, le=64, description="Residents kept started so that a new local instance is ready at once."
    )
    catalogue: Path | None = Field(default=None, description="A YAML file of GPU kinds to add to the ones we know.")
    rate_limit: RateLimit = Field(default=RateLimit(), description="How fast one caller may ask.")
    bodies: BodyLimits = Field(default=BodyLimits(), description="How large a request may be.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="What is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="`json` for machines, `console` for people; `auto` decides by whether stderr is a terminal.",
    )

    @property
    def home_directory(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def data_directory(self) -> Path:
        return (self.data.expanduser() if self.data else self.home_directory / "data").absolute()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_directory / 'yard.db'}"
