"""What the client decides without a network: how a call looks, whether to ask again, which error it was, what comes next."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from gpuyard._version import __version__
from gpuyard.sdk.errors import (
    BY_CODE,
    ConnectionFailed,
    Forbidden,
    NotFound,
    RateLimited,
    ServerFailed,
    TimedOut,
    TooLarge,
    Unauthenticated,
    YardError,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")
Query = Mapping[str, "str | int | float | bool | list[str] | None"]

API = "/yard/v1"
USER_AGENT = f"gpuyard-python/{__version__}"
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_ERROR_SNIPPET = 300


def nothing(_: bytes) -> None:
    """The parser of replies without a body."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how to read its reply."""

    method: str
    path: str
    parse: Callable[[bytes], T]
    query: Query | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds to wait for the answer; None for the client's own."""

    @property
    def target(self) -> str:
        return with_query(self.path, self.query)

    @property
    def repeatable(self) -> bool:
        """Asking twice does no harm."""
        return self.method in _REPEATABLE_METHODS or "Idempotency-Key" in self.headers


def with_query(path: str, query: Query | None) -> str:
    """Nones are left out, lists repeat their name, booleans are words."""
    if not query:
        return path
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        for one in value if isinstance(value, list) else (value,):
            if one is not None:
                pairs.append((name, str(one).lower() if isinstance(one, bool) else str(one)))
    return f"{path}?{urlencode(pairs)}" if pairs else path


def list_of(shape: type[M]) -> Callable[[bytes], list[M]]:
    """The parser of a bare list."""

    def parse(body: bytes) -> list[M]:
        from pydantic import TypeAdapter

        return TypeAdapter(list[shape]).validate_json(body)  # type: ignore[valid-type]

    return parse


def json_call(
    method: str,
    path: str,
    parse: Callable[[bytes], T],
    body: Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    timeout: float | None = None,
) -> Call[T]:
    headers = {"Content-Type": "application/json"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    return Call(method, path, parse, body=content, headers=headers, timeout=timeout)


def segment(text: str) -> str:
    """One segment of a path: nothing in it can end the segment."""
    return _keep_dots(quote(text, safe=""))


def file_path(path: str) -> str:
    """A path of an instance inside a URL. Dots are escaped, so that `..` reaches the yard, which refuses it by name,
    rather than being resolved on the way."""
    return "/".join(_keep_dots(quote(part, safe="")) for part in path.split("/"))


def _keep_dots(part: str) -> str:
    return part.replace(".", "%2E") if part in (".", "..") else part


def dice() -> float:
    """A random number in [0, 1), to spread those who ask again."""
    return random.random()  # noqa: S311 - nobody gains by guessing it


def new_idempotency_key() -> str:
    return secrets.token_urlsafe(18)


# ── Asking again ────────────────────────────────────────────────────────────────────────────────────────────────────

_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})
_TIMEOUTS = frozenset({"ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"})
_PASSING_STATUS = frozenset({502, 503, 504})
_PASSING_CODES = frozenset({"provider_unavailable", "instance_unreachable", "rate_limited"})
"""Errors that may be gone the next time; every other code is an answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How one try went wrong."""

    error: YardError
    sent: bool = True
    """False when the request certainly did not reach the yard."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter, within a number of tries and a budget of seconds spent waiting."""

    retries: int = 3
    first_seconds: float = 0.1
    most_seconds: float = 8.0
    budget_seconds: float = 60.0

    def pause(self, failure: Failure, *, repeatable: bool, tries: int, waited: float, dice: float) -> float | None:
        """Seconds to wait before trying again; None to give up. `dice` is a random number in [0, 1)."""
        if tries > self.retries or not worth_another_try(failure, repeatable=repeatable):
            return None
        asked = failure.error.retry_after
        pause = self.backoff(tries, dice) if asked is None else asked + dice * self.first_seconds
        return pause if waited + pause <= self.budget_seconds else None

    def backoff(self, tries: int, dice: float) -> float:
        return dice * min(self.most_seconds, self.first_seconds * 2.0 ** min(tries, 30))


def worth_another_try(failure: Failure, *, repeatable: bool) -> bool:
    """Whether asking again is safe and may help."""
    error = failure.error
    if not failure.sent or isinstance(error, RateLimited):
        return True  # it did not happen, whatever it was
    if not repeatable:
        return False
    if error.status is None:
        return isinstance(error, (ConnectionFailed, TimedOut))
    if error.status not in _PASSING_STATUS:
        return False
    return error.code in _PASSING_CODES or isinstance(error, ServerFailed)


def failure_of_transport(cause: Exception, base_url: str) -> Failure:
    """What an exception of httpx means. By name, so that nothing here needs httpx loaded."""
    kind = type(cause).__name__
    sent = kind not in _NEVER_SENT
    if kind in _TIMEOUTS:
        error: YardError = TimedOut(f"{base_url} did not answer in time", hint="give the call a longer timeout")
    else:
        said = str(cause) or kind
        hint = "is it up? `gpuyard status`, `gpuyard up`" if not sent else None
        error = ConnectionFailed(f"cannot talk to {base_url}: {said}", hint=hint)
    error.__cause__ = cause
    return Failure(error, sent)


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_BY_STATUS: Mapping[int, type[YardError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    429: RateLimited,
}
"""For answers that are not ours: of a proxy in between, or of a path no yard has."""


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> YardError:
    """The error an answer of 400 or more stands for."""
    told = _told(body)
    request_id = told.get("request_id") or headers.get("x-request-id")
    retry_after = told.get("retry_after")
    if retry_after is None:
        retry_after = _seconds(headers.get("retry-after"))
    code = told.get("code")
    if not isinstance(code, str):
        text = body[:_ERROR_SNIPPET].decode("utf-8", "replace").strip() or "no reason given"
        kind = _BY_STATUS.get(status, ServerFailed)
        return kind(f"HTTP {status}: {text}", request_id=request_id, retry_after=retry_after, status=status)
    error = BY_CODE.get(code, YardError)(
        str(told.get("message") or code),
        field=told.get("field"),
        hint=told.get("hint"),
        details=told.get("details"),
        retry_after=retry_after,
        request_id=request_id,
        status=status,
    )
    error.code = code
    return error


def _told(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return {}
    return told if isinstance(told, dict) else {}


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not one a yard sends."""
    try:
        return max(float(header), 0.0) if header else None
    except ValueError:
        return None


# ── Server-sent events ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ServerEvent:
    id: str
    kind: str
    data: bytes


class EventReader:
    """Reads `text/event-stream` from chunks cut anywhere. An event that was not ended by its blank line is not given:
    who reconnects after its predecessor gets it whole."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._kind = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events: list[ServerEvent] = []
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)
        return events

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._end()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"id":
            self._id = value.decode("utf-8", "replace")
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        return None  # an empty name is a comment: the yard's sign of life

    def _end(self) -> ServerEvent | None:
        data, kind = self._data, self._kind
        self._data, self._kind = [], ""
        return ServerEvent(self._id, kind or "message", b"\n".join(data)) if data else None
