"""Two WebSockets tied together: what one end says the other hears, until one of them closes or the visitor's key is over."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gpuyard.api.lapsing import lapsed
from gpuyard.domain.errors import YardError
from gpuyard.ports.residents import Pipe

_GOING_AWAY, _NOT_ANY_MORE = 1001, 1008


async def relay(visitor: WebSocket, pipe: Pipe) -> None:
    """Accepts the visitor with the subprotocol the instance chose. Both ends are closed when it returns."""
    try:
        await visitor.accept(subprotocol=pipe.subprotocol)
        ways = [asyncio.create_task(_inwards(visitor, pipe)), asyncio.create_task(_outwards(pipe, visitor))]
        lapsing = lapsed(visitor.scope)
        ways += [lapsing] if lapsing is not None else []
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        await pipe.close()
    if visitor.application_state is WebSocketState.CONNECTED and visitor.client_state is WebSocketState.CONNECTED:
        over = lapsing is not None and lapsing.done() and not lapsing.cancelled()
        await visitor.close(_NOT_ANY_MORE if over else _GOING_AWAY)


async def _inwards(visitor: WebSocket, pipe: Pipe) -> None:
    try:
        while (message := await visitor.receive())["type"] == "websocket.receive":
            text = message.get("text")
            await pipe.send(text if text is not None else message["bytes"])
    except (WebSocketDisconnect, YardError):
        return


async def _outwards(pipe: Pipe, visitor: WebSocket) -> None:
    try:
        while (message := await pipe.receive()) is not None:
            if isinstance(message, str):
                await visitor.send_text(message)
            else:
                await visitor.send_bytes(message)
    except (WebSocketDisconnect, RuntimeError):
        return
