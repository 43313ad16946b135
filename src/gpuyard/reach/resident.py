"""One resident as the server sees it: docs/resident.md spoken over HTTP/1.1 and WebSocket."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import httpcore
import httpx
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gpuyard.domain.errors import InstanceUnreachable, TooLarge
from gpuyard.domain.executions import Execution, ExecutionKind
from gpuyard.domain.ids import ExecutionId, InstanceId
from gpuyard.domain.sightings import Reach
from gpuyard.ports.residents import Pipe, Reply, Samples
from gpuyard.reach.failures import reaching, refusal, unreachable
from gpuyard.reach.pipe import WebSocketPipe
from gpuyard.reach.sockets import NoLinks, held
from gpuyard.resident.wire import PROTOCOL, SECRET_HEADER, ExecutionRequest

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
"""For short questions. What streams may be silent for as long as it likes: a dead peer is found by TCP keep-alive."""
_HEALTH_SECONDS = 2.0
_KEEP_IDLE_SECONDS = 4.0
"""Shorter than the five seconds after which the resident's server drops an idle connection, so that we never send
a request into a connection the other side is just closing."""
_KEPT_OPEN = 16
_RECORD_LIMIT = 64 * 1024 * 1024
_JOURNAL_LIMIT = 1024 * 1024 * 1024
"""Residents stop at a quarter of it. What programs put in the resident's place must not fill the yard's disk."""
_ANSWER_LIMIT = 16 * 1024 * 1024
_REFUSAL_LIMIT = 64 * 1024
_MESSAGE_LIMIT = 64 * 1024 * 1024
_UNIX_BASE = "http://resident"

_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, socket: str | None, *, tls: bool, connections: int) -> None:
        super().__init__(
            verify=_tls(tls),
            trust_env=False,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=_KEPT_OPEN,
                keepalive_expiry=_KEEP_IDLE_SECONDS,
            ),
            socket_options=_KEEPALIVE if socket is None else None,
        )
        if socket is not None:  # httpx has no way to say how it is to be opened
            self._pool = httpcore.AsyncConnectionPool(
                uds=socket,
                network_backend=NoLinks(),
                max_connections=connections,
                max_keepalive_connections=_KEPT_OPEN,
                keepalive_expiry=_KEEP_IDLE_SECONDS,
            )


class HttpResident:
    """`ports.residents.Resident`. Uses the transport bare: no redirects, no cookies, no headers of its own."""

    def __init__(self, instance_id: InstanceId, reach: Reach, secret: str, *, connections: int) -> None:
        self._instance_id = instance_id
        self._reach = reach
        self._secret = secret
        self._base = httpx.URL(reach.url or _UNIX_BASE)
        self._transport = _Transport(reach.socket, tls=self._base.scheme == "https", connections=connections)

    def is_at(self, reach: Reach, secret: str) -> bool:
        return self._reach == reach and self._secret == secret

    async def close(self) -> None:
        await self._transport.aclose()

    async def healthy(self) -> bool:
        try:
            async with self._exchange("GET", "/healthz", answer_seconds=_HEALTH_SECONDS) as reply:
                if reply.status_code != 200:
                    return False
                told = json.loads(await _whole(reply.aiter_raw()))
        except (InstanceUnreachable, httpx.HTTPError, OSError, ValueError, RecursionError):
            return False
        return isinstance(told, dict) and told.get("ok") is True and told.get("protocol") == PROTOCOL

    async def execute(self, execution: Execution) -> None:
        order = ExecutionRequest(
            kind=execution.kind.value,
            code=execution.code,
            argv=list(execution.argv) if execution.kind is ExecutionKind.ARGV else [],
            kernel=execution.kernel,
            detached=execution.detached,
            timeout_seconds=execution.timeout.total_seconds() if execution.timeout else None,
            env=dict(execution.env),
        )
        await self._ask("PUT", f"/executions/{execution.id}", order.model_dump_json().encode())

    async def signal(self, execution_id: ExecutionId, signal: str) -> None:
        await self._ask("POST", f"/executions/{execution_id}/signal", json.dumps({"signal": signal}).encode())

    async def feed(self, execution_id: ExecutionId, body: AsyncIterator[bytes], *, eof: bool) -> None:
        path = f"/executions/{execution_id}/stdin"
        async with self.request("POST", path, query="eof=true" if eof else "", body=body) as reply:
            told = await _beginning(reply.body)
            if reply.status >= 400:
                raise refusal(self._instance_id, reply.status, told)

    async def samples(self) -> Samples:
        answer = await self._ask("GET", "/samples")
        try:
            raw = json.loads(answer)
            return Samples(active_at=_instant(raw.get("active_at")), raw=raw)
        except (ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise unreachable(self._instance_id, error) from error

    async def journal(self, execution_id: ExecutionId, *, after: int) -> AsyncIterator[bytes]:
        query = f"after={after}&follow=true"
        async with self.request("GET", f"/executions/{execution_id}/journal", query=query) as reply:
            if reply.status != 200:
                raise refusal(self._instance_id, reply.status, await _beginning(reply.body))
            copied = after
            async for whole in _whole_records(reply.body):
                copied += len(whole)
                if copied > _JOURNAL_LIMIT:
                    raise TooLarge(f"its output is over {_JOURNAL_LIMIT} bytes, more than any resident keeps")
                yield whole

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | bytes | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """`path` and `query` go onto the wire as they are given: percent-escapes untouched, dots unresolved."""
        return self._streamed(method, path, query, headers, body)

    @asynccontextmanager
    async def _streamed(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str] | None,
        body: AsyncIterator[bytes] | bytes | None,
    ) -> AsyncIterator[Reply]:
        async with self._exchange(method, path, query=query, headers=headers, body=body, answer_seconds=None) as reply:
            yield Reply(reply.status_code, tuple(reply.headers.multi_items()), self._flowing(reply))

    async def websocket(
        self,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
    ) -> Pipe:
        url = str(self._url(path, query).copy_with(scheme="wss" if self._base.scheme == "https" else "ws"))
        options: dict[str, Any] = {
            "additional_headers": self._shown(headers),
            "subprotocols": [Subprotocol(name) for name in subprotocols] or None,
            "user_agent_header": None,
            "compression": None,
            "max_size": _MESSAGE_LIMIT,
            "open_timeout": _CONNECT_SECONDS * 2,
            "proxy": None,
        }
        try:
            with reaching(self._instance_id):
                if self._reach.socket is not None:
                    with held(self._reach.socket) as socket:
                        return WebSocketPipe(await unix_connect(socket, url, **options), self._instance_id)
                return WebSocketPipe(await connect(url, **options), self._instance_id)
        except Exception as error:
            if isinstance(error.__cause__, InvalidStatus):
                answer = error.__cause__.response
                raise refusal(self._instance_id, answer.status_code, bytes(answer.body or b"")) from error
            raise

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One short question and its whole answer. Raises what the resident refused with."""
        headers = {"content-type": "application/json"} if body is not None else {}
        with reaching(self._instance_id):
            async with self._exchange(method, path, headers=headers, body=body) as reply:
                answer = await _whole(reply.aiter_raw())
        if reply.status_code >= 400:
            raise refusal(self._instance_id, reply.status_code, answer)
        return answer

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | bytes | None = None,
        answer_seconds: float | None = _ANSWER_SECONDS,
    ) -> AsyncIterator[httpx.Response]:
        """One request; the connection goes back to the pool, or is closed, however the block ends."""
        limits = {
            "connect": _CONNECT_SECONDS,
            "pool": _CONNECT_SECONDS,
            "read": answer_seconds,
            "write": answer_seconds,
        }
        request = httpx.Request(
            method,
            self._url(path, query),
            headers=self._shown(headers),
            content=body,
            extensions={"timeout": limits},
        )
        try:
            reply = await self._transport.handle_async_request(request)
        except (httpx.TransportError, OSError) as error:
            raise unreachable(self._instance_id, error) from error
        try:
            yield reply
        finally:
            await reply.aclose()

    def _shown(self, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        """With the secret, and with no other that a visitor sent along."""
        others = {name: value for name, value in (headers or {}).items() if name.lower() != SECRET_HEADER.lower()}
        return {**others, SECRET_HEADER: self._secret}

    async def _flowing(self, reply: httpx.Response) -> AsyncIterator[bytes]:
        with reaching(self._instance_id):
            async for chunk in reply.aiter_raw():
                yield chunk

    def _url(self, path: str, query: str) -> httpx.URL:
        whole = self._base.path.rstrip("/") + _DOTS.sub(_escaped, path) + (f"?{query}" if query else "")
        return self._base.copy_with(raw_path=whole.encode("ascii"))


_DOTS = re.compile(r"(?<=/)\.{1,2}(?=/|$)")


def _escaped(dots: re.Match[str]) -> str:
    """A URL would resolve `..` before it is sent, and so reach another route than was checked: the resident judges it."""
    return "%2E" * len(dots.group())


async def _whole_records(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines as they become complete; a torn end is not passed on, so that an offset always stands between records."""
    rest = bytearray()
    async for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield bytes(rest) + chunk[:cut]
            rest.clear()
        rest += chunk[cut:]
        if len(rest) > _RECORD_LIMIT:
            raise TooLarge(f"its output has a record of more than {_RECORD_LIMIT} bytes")


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    """A short answer. Programs of the instance may have taken the resident's place, so it is bounded."""
    told = bytearray()
    async for chunk in body:
        told += chunk
        if len(told) > _ANSWER_LIMIT:
            raise httpx.RemoteProtocolError(f"an answer of more than {_ANSWER_LIMIT} bytes")
    return bytes(told)


async def _beginning(body: AsyncIterator[bytes]) -> bytes:
    told = b""
    async for chunk in body:
        told += chunk
        if len(told) >= _REFUSAL_LIMIT:
            break
    return told


def _instant(told: object) -> datetime | None:
    if isinstance(told, int | float):
        return datetime.fromtimestamp(told, UTC)
    if isinstance(told, str):
        return datetime.fromisoformat(told)
    return None


@lru_cache(maxsize=2)
def _tls(needed: bool) -> ssl.SSLContext:
    """One for all residents: a context that reads the system's certificates takes tens of milliseconds to make."""
    return ssl.create_default_context() if needed else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
