"""What the client decides without a network: how a call looks, which error it was, whether and when to ask again, what the
next page is."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from gpuyard.vendors.novita.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    ForbiddenError,
    MissingReferenceError,
    NotFoundError,
    NovitaError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - ours
    UnexpectedAnswerError,
)

T = TypeVar("T")
QueryValue = str | int | bool | list[str] | None

DEFAULT_BASE_URL = "https://api.novita.ai"
"""Read when a client is made; there is no environment variable for it."""
DEFAULT_TIMEOUT: Final = 60.0
KEY_VARIABLE: Final = "NOVITA_API_KEY"
REAL: Final = "/gpu-instance/openapi/v1"
SIMPLE: Final = "/v1/gpu"


# ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how to read the JSON of its answer. `parse` gets None for an empty answer."""

    method: str
    path: str
    parse: Callable[[Any], T]
    query: Mapping[str, QueryValue] | None = None
    body: Mapping[str, Any] | None = None
    sets: bool = False
    """It sets a value: doing it twice is doing it once, and the second time answers as the first."""

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or self.sets

    @property
    def target(self) -> str:
        """Path and query; Nones are left out, lists repeat their name, booleans are words."""
        pairs = [
            (name, str(one).lower() if isinstance(one, bool) else str(one))
            for name, value in (self.query or {}).items()
            for one in (value if isinstance(value, list) else [value])
            if one is not None
        ]
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()


def get(path: str, parse: Callable[[Any], T], **query: QueryValue) -> Call[T]:
    """A read of the real API."""
    return Call("GET", REAL + path, parse, query=query)


def post(path: str, parse: Callable[[Any], T], body: Mapping[str, Any], *, sets: bool = False) -> Call[T]:
    return Call("POST", REAL + path, parse, body=body, sets=sets)


def nothing(_: Any) -> None:
    """The parser of answers whose content does not matter, empty ones too."""


def an_object(answer: Any) -> dict[str, Any]:
    """An answer that is passed on as it is."""
    if not isinstance(answer, dict):
        raise ValueError(f"an object was expected, not {type(answer).__name__}")
    return answer


def fields(answer: Any) -> dict[str, Any]:
    """The fields of an answer that may as well be empty."""
    return answer if isinstance(answer, dict) else {}


def segment(text: str) -> str:
    """One segment of a path: nothing in it can end the segment."""
    if not text:
        raise ValueError("an id is empty")
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def find_api_key(given: str | None) -> str:
    """The key given, else the one of the environment. Raises AuthenticationError when there is none."""
    key = given or os.environ.get(KEY_VARIABLE)
    if not key:
        raise AuthenticationError(f"No API key: pass api_key, or set {KEY_VARIABLE}.", None)
    return key


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_answer(call: Call[T], status: int, body: bytes) -> T:
    """What the call makes of a success. Raises UnexpectedAnswerError when it cannot be read."""
    try:
        return call.parse(json.loads(body) if body.strip() else None)
    except ValueError as cause:  # also what pydantic and json raise
        message = f"{call.method} {call.path} answered {status} with something unexpected: {cause}"
        raise UnexpectedAnswerError(message, status, body.decode(errors="replace")) from cause


def error_of(status: int, url: str, headers: Mapping[str, str], body: bytes) -> NovitaError:
    """The error a refusal is. Never fails, whatever the body is."""
    text = body.decode(errors="replace")
    said = _json_object(text)
    if status == 400:
        return _bad_request(url, said)
    reason = _reason(said)
    match status:
        case 401:
            return AuthenticationError()
        case 403:
            return ForbiddenError(f"Not allowed: {reason or 'the API key may not do this'}", text)
        case 404:
            return NotFoundError(f"Resource not found: {url}" + (f" ({reason})" if reason else ""))
        case 429:
            return RateLimitError(retry_after=retry_after(headers))
    kind = "Server error" if status >= 500 else "API error"
    error = APIError(f"{kind} ({status})" + (f": {reason}" if reason else ""), status, text)
    error.retry_after = retry_after(headers)
    return error


def _bad_request(url: str, said: dict[str, Any] | None) -> NovitaError:
    message = f"Bad request: {_reason(said) or 'Invalid parameters'}"
    if str((said or {}).get("reason", "")).endswith("NOT_FOUND"):
        return MissingReferenceError(f"{message} (resource not found: {url})", said)
    return BadRequestError(message, said)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _reason(said: Mapping[str, Any] | None) -> str:
    """For people: the message, with the reason's name where there is one."""
    message, reason = (str((said or {}).get(name) or "") for name in ("message", "reason"))
    return f"{message} [{reason}]" if message and reason else message or reason


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, where the header gives seconds; a date is not worth a clock."""
    said = headers.get("retry-after", "")
    return float(said) if said.isascii() and said.isdigit() else None


# ── Asking again ────────────────────────────────────────────────────────────────────────────────────────────────────

_NEVER_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})
_PASSING_STATUS = frozenset({500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Failure:
    """How one try went wrong."""

    error: NovitaError
    sent: bool = True
    """False when the request certainly did not arrive."""


def failure_of_transport(cause: Exception, base_url: str, *, timed_out: bool) -> Failure:
    """What an exception of the connection means."""
    sent = type(cause).__name__ not in _NEVER_SENT
    error: NovitaError
    if timed_out:
        error = TimeoutError(f"{base_url} did not answer in time: {type(cause).__name__}")
    else:
        error = ConnectionFailedError(f"cannot talk to {base_url}: {cause or type(cause).__name__}")
    error.__cause__ = cause
    return Failure(error, sent)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter. By default nothing is asked twice, as programs written for the published SDK
    expect; `RetryPolicy(retries=3)` asks up to four times."""

    retries: int = 0
    first_seconds: float = 0.5
    most_seconds: float = 20.0
    longest_seconds: float = 120.0
    """A server that wants a longer pause than this gets none: the error is raised."""

    def pause(self, failure: Failure, *, repeatable: bool, tries: int, dice: float) -> float | None:
        """Seconds to wait before try number `tries` + 1; None to give up. `dice` is a random number in [0, 1)."""
        if tries > self.retries or not worth_another_try(failure, repeatable=repeatable):
            return None
        asked = getattr(failure.error, "retry_after", None)
        if asked is not None:
            wanted = float(asked) + dice * self.first_seconds
            return wanted if wanted <= self.longest_seconds else None
        return dice * min(self.most_seconds, self.first_seconds * 2.0 ** min(tries - 1, 30))


def worth_another_try(failure: Failure, *, repeatable: bool) -> bool:
    """Whether asking again is safe and may help. What did not happen may always be asked again; what may have happened only
    if twice is as good as once: a second `create` is a second machine on the bill."""
    error = failure.error
    if not failure.sent or isinstance(error, RateLimitError):
        return True
    if not repeatable:
        return False
    return isinstance(error, (TimeoutError, ConnectionFailedError)) or error.status_code in _PASSING_STATUS


def dice() -> float:
    """A random number in [0, 1), to spread those who ask again."""
    return random.random()  # noqa: S311 - nobody gains by guessing it


# ── Asking slowly ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `per_second` requests on average, `burst` of them at once."""

    per_second: float
    burst: int = 1

    def __post_init__(self) -> None:
        if not self.per_second > 0 or self.burst < 1:
            raise ValueError(f"{self} is no limit: per_second must be above 0 and burst at least 1")


class TokenBucket:
    """Hands out turns. Whoever asks has a turn, some time from now: nobody is refused, and nobody can overtake."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._tokens = float(limit.burst)
        self._at = now
        self._lock = threading.Lock()

    def take(self, now: float) -> float:
        """Seconds to wait before the request may be sent. `now` is of any clock that does not go back."""
        with self._lock:
            gained = max(0.0, now - self._at) * self._limit.per_second
            self._tokens = min(float(self._limit.burst), self._tokens + gained) - 1.0
            self._at = max(self._at, now)
            return max(0.0, -self._tokens / self._limit.per_second)


# ── Pages ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_PATIENCE = 2
"""Pages in a row that may bring nothing new. One is not enough: where pages count from 1, page 0 and page 1 may be the same."""


class PageWalk(Generic[T]):
    """Which page to ask for next, and which of its items are new.

    The sources disagree on whether pages count from 0 or from 1, so the walk begins at the lower one and drops what it has
    seen. It ends when `total` items were seen, or when two pages in a row brought nothing new.
    """

    def __init__(self, identify: Callable[[T], Hashable], first: int = 0) -> None:
        self.page: int | None = first
        self._identify = identify
        self._seen: set[Hashable] = set()
        self._idle = 0

    def take(self, items: Iterable[T], total: int | None) -> list[T]:
        """The new items of the page asked for; `page` is then the next one, None at the end. A total of 0 is no total."""
        new = []
        for item in items:
            if (identity := self._identify(item)) not in self._seen:
                self._seen.add(identity)
                new.append(item)
        self._idle = 0 if new else self._idle + 1
        done = self._idle >= _PATIENCE or (total and len(self._seen) >= total)
        self.page = None if done or self.page is None else self.page + 1
        return new
