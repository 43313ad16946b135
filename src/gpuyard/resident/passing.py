"""What may be passed on to a program of the instance, and where that program listens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from starlette.types import Scope

from gpuyard.resident.errors import Refusal
from gpuyard.resident.wire import SECRET_HEADER

_HOP_BY_HOP = {
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
    *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
}
_NOT_PASSED_ON = _HOP_BY_HOP | {SECRET_HEADER.lower().encode()}
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a program listens: a Unix socket or a port of 127.0.0.1."""

    socket: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"http://127.0.0.1:{self.port}"


def not_ready(what: str, why: str) -> Refusal:
    return Refusal(502, "not_ready", f"{what} does not answer: {why}", hint="ask again when it is ready")


def target_path(scope: Scope) -> bytes:
    """All behind `/proxy/`, as it was sent: for the program that is the whole path."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = b"/" + raw.partition(b"/proxy/")[2]
    return path + b"?" + scope["query_string"] if scope.get("query_string") else path


def passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without those that speak of one connection only, and without the resident's secret."""
    headers = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in headers if name not in _NOT_PASSED_ON | named]


def forwarded(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The public name of the program in `Host` and `X-Forwarded-Host`, whichever the server gave."""
    given = dict(headers)
    public = given.get(b"x-forwarded-host") or given.get(b"host") or b"localhost"
    rest = [(name, value) for name, value in headers if name not in (b"host", b"x-forwarded-host")]
    return [(b"host", public), (b"x-forwarded-host", public), *rest]
