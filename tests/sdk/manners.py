"""One scenario for both clients: the synchronous one is put behind the face of the asynchronous one, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, TypeVar

from gpuyard import AsyncClient, Client
from gpuyard.sdk._sync.remote import remote as sync_remote

T = TypeVar("T")

MANNERS = ("async", "sync")
_PLAIN = frozenset({"remote", "local"})
"""Methods that neither client waits for."""


def open_client(manner: str, url: str, key: str, **options: Any) -> Any:
    """An AsyncClient, or a Client that looks like one."""
    if manner == "async":
        return AsyncClient(url, key, **options)
    return Awaited(Client(url, key, **options))


def awaited_remote(function: Callable[..., Any], **options: Any) -> Any:
    return Awaited(sync_remote(**options)(function))


class Awaited:
    """An object of the synchronous client, every method of which can be awaited, iterated or entered."""

    def __init__(self, it: Any) -> None:
        self._it = it

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._it, {"aclose": "close"}.get(name, name))
        if not callable(found):
            return _face(found)
        if name in _PLAIN:
            return lambda *args, **kwargs: _face(found(*args, **kwargs))
        return lambda *args, **kwargs: _Pending(lambda: found(*args, **kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> _Pending:
        return _Pending(lambda: self._it(*args, **kwargs))

    async def __aenter__(self) -> Any:
        return _face(await _threaded(self._it.__enter__))

    async def __aexit__(self, *told: Any) -> Any:
        return await _threaded(lambda: self._it.__exit__(*told))

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(_Pending(lambda: self._it))

    def __repr__(self) -> str:
        return repr(self._it)


class _Pending:
    """A call not yet made: what it will be used as decides."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._made: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._waited().__await__()

    async def _waited(self) -> Any:
        return _face(await _threaded(self._work))

    async def __aiter__(self) -> AsyncIterator[Any]:
        self._made = iterator = iter(self._work())
        end = object()
        while (item := await _threaded(lambda: next(iterator, end))) is not end:
            yield _face(item)

    async def __aenter__(self) -> Any:
        self._made = await _threaded(self._work)
        return _face(await _threaded(self._made.__enter__))

    async def __aexit__(self, *told: Any) -> Any:
        return await _threaded(lambda: self._made.__exit__(*told))


def _face(found: Any) -> Any:
    if isinstance(found, Iterator):
        return _Pending(lambda: found)
    return Awaited(found) if type(found).__module__.startswith("gpuyard.sdk._sync") else found


async def _threaded(work: Callable[[], T]) -> T:
    """StopIteration cannot leave a thread through a future, so nothing here lets one out."""
    return await asyncio.to_thread(work)
