# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Sends calls over one pool of connections, asks again where that is safe, and follows streams across cuts."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from gpuyard.sdk import _io
from gpuyard.sdk.core import (
    USER_AGENT,
    Call,
    EventReader,
    Failure,
    Query,
    RetryPolicy,
    ServerEvent,
    dice,
    error_of,
    failure_of_transport,
    with_query,
    worth_another_try,
)
from gpuyard.sdk.credentials import Credentials
from gpuyard.sdk.errors import TimedOut, YardError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEEPALIVE_SECONDS = 4.0
"""A little less than what servers keep an idle connection for, so that ours is never the one just closed."""
_CONNECT_SECONDS = 10.0
_FIRST_BYTE = {"Range": "bytes=0-0"}
_QUIET_SECONDS = 60.0
"""A stream that says nothing at all for this long, not even a comment, is taken for dead and opened again."""
_GONE_SECONDS = 120.0
"""How long a stream tries to come back to a yard that does not answer."""


class Transport:
    def __init__(self, credentials: Credentials, *, timeout: float, retries: RetryPolicy) -> None:
        import httpx

        self.url = credentials.url
        self.retries = retries
        self._key = credentials.api_key
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {credentials.api_key}", "User-Agent": USER_AGENT},
            timeout=self._timeout,
            verify=_io.tls_for(credentials.url),
            trust_env=urlsplit(credentials.url).hostname not in _LOOPBACK,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE_SECONDS),
        )

    def send(self, call: Call[T]) -> T:
        """The parsed reply. Raises the YardError it was, after as many tries as are safe."""
        return call.parse((self.answer(call)).content)

    def answer(self, call: Call[T]) -> httpx.Response:
        """The reply itself, for those that say something in their headers."""
        url = self.url + call.target
        tries, waited = 0, 0.0
        while True:
            tries += 1
            outcome = self._try(call, url)
            if not isinstance(outcome, Failure):
                return outcome
            pause = self.retries.pause(outcome, repeatable=call.repeatable, tries=tries, waited=waited, dice=dice())
            if pause is None:
                raise outcome.error
            waited += pause
            _io.sync_sleep(pause)

    def _try(self, call: Call[T], url: str) -> httpx.Response | Failure:
        import httpx

        try:
            reply = self._http.request(
                call.method,
                url,
                content=call.body,
                headers=call.headers,
                timeout=self._timeout if call.timeout is None else call.timeout,
            )
        except httpx.TransportError as cause:
            return failure_of_transport(cause, self.url)
        if reply.status_code < 400:
            return reply
        if call.method == "HEAD":  # its refusal has no body: the reason is what a GET is told
            explained = self._try(replace(call, method="GET", headers={**call.headers, **_FIRST_BYTE}), url)
            if isinstance(explained, Failure):
                return explained
        return Failure(error_of(reply.status_code, reply.headers, reply.content))

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        content: Iterator[bytes] | bytes | None = None,
        quiet: float | None = None,
    ) -> Iterator[httpx.Response]:
        """One try, its body still flowing. Raises the YardError; whoever streams knows where to take up again."""
        import httpx

        timeout = self._timeout if quiet is None else httpx.Timeout(quiet, connect=self._timeout.connect)
        url = self.url + with_query(path, query)
        try:
            with self._http.stream(method, url, headers=headers, content=content, timeout=timeout) as reply:
                if reply.status_code >= 400:
                    raise error_of(reply.status_code, reply.headers, reply.read())
                yield reply
        except httpx.TransportError as cause:
            raise failure_of_transport(cause, self.url).error from cause

    def follow(
        self, path: str, *, query: Query, after: int | None, until: float | None = None
    ) -> Generator[ServerEvent | None, None]:
        """The events of a stream after the number `after` (None: from now on), each once, across as many connections as it takes.

        A None means that the yard ended the stream: the caller looks whether that was the end, and stops iterating if so.
        `until` is an instant of `time.monotonic`; TimedOut is raised after it.
        """
        quietly, gone_since = 0, None
        while True:
            moved = opened = False
            try:
                quiet = _QUIET_SECONDS if until is None else min(_QUIET_SECONDS, max(until - time.monotonic(), 0.001))
                with self.stream(
                    "GET", path, query={**query, "after": after}, headers={"Accept": "text/event-stream"}, quiet=quiet
                ) as reply:
                    gone_since, opened = None, True
                    reader = EventReader()
                    for chunk in reply.iter_raw():
                        for event in reader.feed(chunk):
                            number = int(event.id or 0)
                            if after is None or number > after:
                                yield event
                                after, moved = number, True
                        _check(until)
                yield None
            except YardError as error:
                _check(until)
                if opened and isinstance(error, TimedOut):
                    continue  # nothing was said for long: that is no reason to be late for what is said next
                if not worth_another_try(Failure(error), repeatable=True):
                    raise
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > _GONE_SECONDS:
                    raise
            quietly = 0 if moved else quietly + 1
            _io.sync_sleep(self.retries.backoff(quietly, dice()))
            _check(until)

    def websocket(self, path: str, query: Query) -> _io.Socket:
        address = f"ws{self.url.removeprefix('http')}{with_query(path, query)}"
        headers = {"Authorization": f"Bearer {self._key}", "User-Agent": USER_AGENT}
        return _io.sync_websocket(address, headers, _CONNECT_SECONDS)

    def close(self) -> None:
        self._http.close()


def _check(until: float | None) -> None:
    if until is not None and time.monotonic() > until:
        raise TimedOut("it did not end in time", hint="it goes on running; follow it again, or cancel it")
