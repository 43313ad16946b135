"""What every shape of the API has in common."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

T = TypeVar("T")


def _aware(instant: datetime) -> datetime:
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


Instant = Annotated[datetime, AfterValidator(_aware)]
"""ISO 8601 with `Z` on the wire, aware UTC in Python."""


class Request(BaseModel):
    """What a caller sends. A misspelled field is an error, never a silent default."""

    model_config = ConfigDict(extra="forbid", str_max_length=1_000_000)

    @field_validator("*")
    @classmethod
    def _no_zero_character(cls, value: object) -> object:
        """Neither an environment, nor a file name, nor PostgreSQL can hold one."""
        texts = (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise ValueError("it must not hold a zero character")
        return value


class Reply(BaseModel):
    """What the server sends. A newer server may send more than this client knows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Page(Reply, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(default=None, description="Pass it as `cursor` for the next page; null at the end.")


class ErrorBody(Reply):
    code: str
    message: str
    field: str | None = None
    hint: str | None = None
    details: dict[str, object] | None = None
    retry_after: float | None = None
    request_id: str | None = None


class ErrorReply(Reply):
    error: ErrorBody
