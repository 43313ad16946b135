"""Two WebSockets tied together: what one end says the other hears, until one of them closes."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gpuyard.domain.errors import YardError
from gpuyard.ports.residents import Pipe

_GOING_AWAY = 1001


async def relay(visitor: WebSocket, pipe: Pipe) -> None:
    """Accepts the visitor with the subprotocol the instance chose. Both ends are closed when it returns."""
    try:
        await visitor.accept(subprotocol=pipe.subprotocol)
        ways = [asyncio.create_task(_inwards(visitor, pipe)), asyncio.create_task(_outwards(pipe, visitor))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        await pipe.close()
    if visitor.application_state is WebSocketState.CONNECTED and visitor.client_state is WebSocketState.CONNECTED:
        await visitor.close(_GOING_AWAY)


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
