# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Sends calls over one pool of connections, in turn, and again where that is safe."""

from __future__ import annotations

import ssl
import time
from typing import TypeVar

import httpx

from gpuyard._version import __version__
from gpuyard.vendors.novita import _io
from gpuyard.vendors.novita.core import (
    Call,
    Failure,
    RateLimit,
    RetryPolicy,
    TokenBucket,
    dice,
    error_of,
    failure_of_transport,
    is_loopback,
    read_answer,
)

T = TypeVar("T")


class Transport:
    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: float,
        retries: RetryPolicy,
        rate_limit: RateLimit | None,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._retries = retries
        self._bucket = TokenBucket(rate_limit, time.monotonic()) if rate_limit else None
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": f"gpuyard-python/{__version__}"},
            timeout=timeout,
            follow_redirects=False,
            transport=transport,
            # the machine's certificates take longer to load than a hundred calls: not for plain http
            verify=True if self.base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=not is_loopback(self.base_url),
        )

    def send(self, call: Call[T]) -> T:
        """The parsed answer. Raises the NovitaError it was, after as many tries as are allowed and safe."""
        tries = 0
        while True:
            tries += 1
            if self._bucket:
                _io.sync_sleep(self._bucket.take(time.monotonic()))
            outcome = self._try(call)
            if not isinstance(outcome, Failure):
                return read_answer(call, outcome.status_code, outcome.content)
            pause = self._retries.pause(outcome, repeatable=call.repeatable, tries=tries, dice=dice())
            if pause is None:
                raise outcome.error
            _io.sync_sleep(pause)

    def _try(self, call: Call[T]) -> httpx.Response | Failure:
        headers = {} if call.body is None else {"Content-Type": "application/json"}
        try:
            reply = self._http.request(call.method, self.base_url + call.target, content=call.content, headers=headers)
        except httpx.TransportError as cause:
            return failure_of_transport(cause, self.base_url, timed_out=isinstance(cause, httpx.TimeoutException))
        if reply.is_success:
            return reply
        return Failure(error_of(reply.status_code, str(reply.request.url), reply.headers, reply.content))

    def close(self) -> None:
        self._http.close()
