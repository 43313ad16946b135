"""The other end of the wire, and one face for both clients."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from gpuyard.vendors.novita import AsyncNovitaClient, NovitaClient, RetryPolicy

MANNERS = ("async", "sync")
URL = "https://api.novita.ai"
REAL = "/gpu-instance/openapi/v1"
AT_ONCE = RetryPolicy(retries=3, first_seconds=0.0)

Answer = httpx.Response | Exception


def json_answer(body: Any = None, status: int = 200, **headers: str) -> httpx.Response:
    """Without a body an empty answer."""
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(
        status, content=content, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


class Cloud:
    """Answers with what it was given, in that order, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = [one if isinstance(one, Answer) else json_answer(one) for one in answers]

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def handle_later(self, request: httpx.Request) -> httpx.Response:
        return self.handle(request)

    @property
    def request(self) -> httpx.Request:
        (one,) = self.asked
        return one

    @property
    def said(self) -> tuple[str, str, Any]:
        """Method, path with query, and JSON body of the only request."""
        return said(self.request)


def said(request: httpx.Request) -> tuple[str, str, Any]:
    return request.method, request.url.raw_path.decode(), json.loads(request.content) if request.content else None


def open_client(manner: str, cloud: Cloud, key: str | None = "test-key", **options: Any) -> Any:
    """An AsyncNovitaClient, or a NovitaClient that looks like one."""
    if manner == "async":
        return AsyncNovitaClient(key, transport=httpx.MockTransport(cloud.handle_later), **options)
    return Awaited(NovitaClient(key, transport=httpx.MockTransport(cloud.handle), **options))


class Awaited:
    """What is called on it is called on the synchronous thing and can be awaited."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, "close" if name == "aclose" else name)
        if inspect.isgeneratorfunction(found) or name == "iterate":
            return _asynchronous(found)
        return _awaitable(found) if callable(found) else Awaited(found)

    async def __aenter__(self) -> Awaited:
        return Awaited(self._inner.__enter__())

    async def __aexit__(self, *failure: Any) -> None:
        self._inner.__exit__(*failure)


def _awaitable(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def _asynchronous(function: Callable[..., Any]) -> Callable[..., AsyncIterator[Any]]:
    async def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for item in function(*args, **kwargs):
            yield item

    return iterate
