"""How values look in a row: instants and durations as microseconds, structures as JSON, text kept exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Raises TypeError for an instant without a zone: nobody could say when it was."""
    return (instant - _EPOCH) // _MICROSECOND


def micros_or_none(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


def instant(stored: int) -> datetime:
    return _EPOCH + timedelta(microseconds=stored)


def instant_or_none(stored: int | None) -> datetime | None:
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)


def span_or_none(duration: timedelta | None) -> int | None:
    return None if duration is None else duration // _MICROSECOND


def duration_or_none(stored: int | None) -> timedelta | None:
    return None if stored is None else timedelta(microseconds=stored)


def plain(text: str) -> str:
    """Text as both databases can hold it. PostgreSQL takes no NUL and neither takes half a surrogate pair, yet
    a program's output may have both: such text is stored as a JSON string, marked by the quote it begins with."""
    if text.isascii():
        exact = "\x00" not in text
    else:
        exact = "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
    return text if exact and not text.startswith('"') else json.dumps(text)


def exact(stored: str) -> str:
    """The text that `plain` was given."""
    if stored.startswith('"'):
        text: str = json.loads(stored)
        return text
    return stored


def exact_or_none(stored: str | None) -> str | None:
    return None if stored is None else exact(stored)


_encode = json.JSONEncoder(separators=(",", ":")).encode
"""One encoder for all: `json.dumps` with options makes a new one on every call."""


def to_json(value: Mapping[str, Any] | list[Any]) -> str:
    """ASCII only, so whatever is in it both databases can hold it."""
    return _encode(value)


def from_json(stored: str) -> Any:
    return json.loads(stored)
