"""What truly differs between the two clients, side by side: `async_…` for the one, `sync_…` for the other.

asyncio, ssl and websockets are loaded by those who use them: they take longer than everything else in `import gpuyard`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    import ssl
    from typing import TypeAlias

    from websockets.asyncio import client as async_client
    from websockets.sync import client as sync_client

    AsyncSocket: TypeAlias = async_client.ClientConnection
    Socket: TypeAlias = sync_client.ClientConnection

P = ParamSpec("P")
T = TypeVar("T")

_NEVER = threading.Event()


# ── Waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def async_sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def sync_sleep(seconds: float) -> None:
    _NEVER.wait(seconds)


# ── Work that blocks: reading and writing files of this machine ─────────────────────────────────────────────────────


async def async_blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio

    return await asyncio.to_thread(work, *args, **kwargs)


def sync_blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return work(*args, **kwargs)


async def async_pieces(source: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a source that reads files, without holding up the event loop."""
    import asyncio

    while (piece := await asyncio.to_thread(next, source, None)) is not None:
        yield piece


def sync_pieces(source: Iterator[bytes]) -> Iterator[bytes]:
    return source


# ── Finishing what must be finished, though we were told to stop ────────────────────────────────────────────────────


async def async_finish(work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end even when the task is cancelled again meanwhile."""
    import asyncio

    task = asyncio.ensure_future(work())
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as told:
            if task.cancelled():
                raise
            cancelled = told
        except Exception:  # noqa: S110 - `task.result()` below raises it
            pass
    if cancelled is not None and task.exception() is None:
        raise cancelled
    return task.result()


def sync_finish(work: Callable[[], T]) -> T:
    return work()


# ── WebSockets ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def async_websocket(url: str, headers: Mapping[str, str], timeout: float) -> AsyncSocket:
    from websockets.asyncio.client import connect

    return await connect(url, additional_headers=headers, open_timeout=timeout, max_size=None, proxy=None)


def sync_websocket(url: str, headers: Mapping[str, str], timeout: float) -> Socket:
    from websockets.sync.client import connect

    opened = connect(url, additional_headers=headers, open_timeout=timeout, max_size=None, proxy=None)
    return opened.__enter__()  # what websockets 17 wants to see; before, it does nothing


# ── Shared ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tls_for(url: str) -> ssl.SSLContext | bool:
    """Loading the machine's certificates takes longer than a hundred calls: only where they are needed."""
    import ssl

    return True if url.startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
