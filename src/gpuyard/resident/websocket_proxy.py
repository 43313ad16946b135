"""A WebSocket passed on to a program of the instance: messages both ways, and the end with its code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from gpuyard.resident.errors import Refusal
from gpuyard.resident.passing import CONNECT_SECONDS, Target, forwarded, not_ready, passed_on, target_path

_CLOSE_SECONDS = 2.0
NO_STATUS = 1005
_SENDABLE = {*range(1000, 1004), *range(1007, 1015)}

log = logging.getLogger("gpuyard.resident")


async def pass_on(websocket: WebSocket, target: Target, what: str, touch: Callable[[], None]) -> None:
    """Pass on one WebSocket; accepted only when the program has accepted it, with the subprotocol it chose."""
    try:
        upstream = await _dial(websocket, target)
    except InvalidStatus as refused:
        response = refused.response
        raise Refusal(response.status_code, "refused", f"{what} refuses this WebSocket") from refused
    except (OSError, WebSocketException, TimeoutError) as error:
        raise not_ready(what, str(error) or type(error).__name__) from error
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(upstream.close)
        await websocket.accept(subprotocol=upstream.subprotocol)
        await _pump(websocket, upstream, touch)


async def _dial(websocket: WebSocket, target: Target) -> ClientConnection:
    kept = [
        (name, value)
        for name, value in forwarded(passed_on(websocket.scope["headers"]))
        if not name.startswith(b"sec-websocket-") and name != b"host"  # that is taken from the address
    ]
    options: dict[str, Any] = {
        "additional_headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept],
        "subprotocols": [Subprotocol(name) for name in websocket.scope.get("subprotocols", ())] or None,
        "compression": None,  # both ends are on this machine
        "user_agent_header": None,
        "max_size": None,
        "max_queue": 4,
        "ping_interval": None,  # the far ends ask each other
        "open_timeout": CONNECT_SECONDS,
        "close_timeout": _CLOSE_SECONDS,
        "proxy": None,
    }
    public = dict(kept)[b"x-forwarded-host"].decode("latin-1")
    address = f"ws://{public}{target_path(websocket.scope).decode('latin-1')}"
    if target.socket:
        return await unix_connect(target.socket, uri=address, **options)
    return await connect(address, host="127.0.0.1", port=target.port, **options)


async def _pump(websocket: WebSocket, upstream: ClientConnection, touch: Callable[[], None]) -> None:
    """Pass messages both ways until one side closes; the other is closed with the same code."""
    ways = (asyncio.create_task(_down(websocket, upstream)), asyncio.create_task(_up(websocket, upstream, touch)))
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for outcome in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, (ConnectionClosed, WebSocketDisconnect)):
                log.warning("a WebSocket broke", exc_info=outcome)


async def _down(websocket: WebSocket, upstream: ClientConnection) -> None:
    try:
        while True:
            message = await upstream.recv()
            await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))
    except ConnectionClosed:
        await websocket.close(sendable(upstream.close_code), upstream.close_reason)


async def _up(websocket: WebSocket, upstream: ClientConnection, touch: Callable[[], None]) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(sendable(message.get("code")), message.get("reason") or "")
            return
        touch()
        text = message.get("text")
        await upstream.send(text if text is not None else message["bytes"])


def sendable(code: int | None) -> int:
    """A close code that may be sent for one that was received or that stands for none."""
    if code is None or code == NO_STATUS:
        return 1000
    return code if code in _SENDABLE or 3000 <= code < 5000 else 1011
