"""Request bodies read with a bound and checked against their shape, so that routes see only values that fit."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from gpuyard.resident.errors import Refusal, malformed, wrong_field

BODY_LIMIT = 66 * 1024 * 1024
"""Code travels in a body, 64 MiB of it at most; data travels as files, which have no bound."""

Shape = TypeVar("Shape", bound=BaseModel)


async def bounded(request: Request, limit: int = BODY_LIMIT) -> bytes:
    """The whole body, or 413 before more than `limit` bytes of it are in memory."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise Refusal(
                413,
                "too_large",
                f"the body is over {limit} bytes",
                hint="send large content as files",
                headers={"Connection": "close"},  # else the rest of the body is read, however long it is
            )
        pieces.append(piece)
    return b"".join(pieces)


async def parsed(request: Request, shape: type[Shape], *, empty: bytes = b"") -> Shape:
    """The body as `shape`; 400 when it is not JSON, 422 naming the first wrong field. `empty` stands for no body."""
    raw = await bounded(request) or empty
    try:
        return shape.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise malformed(f"the body is not JSON: {first['msg']}") from None
        field = ".".join(str(part) for part in first["loc"])
        raise wrong_field(field, f"{field or 'body'}: {first['msg']}") from None


def flag(request: Request, name: str) -> bool:
    """A yes-or-no of the query; absent is no."""
    value = request.query_params.get(name, "false").lower()
    if value not in _FLAGS:
        raise wrong_field(name, f"{name}: {value!r} is neither true nor false")
    return _FLAGS[value]


_DIGITS = 18
"""No journal has more bytes, and Python refuses to read numbers of thousands of digits."""

_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


def offset(request: Request, name: str) -> int:
    """A count of bytes in the query; absent is 0."""
    value = request.query_params.get(name, "0")
    if not (value.isascii() and value.isdigit() and len(value) <= _DIGITS):
        raise wrong_field(name, f"{name}: {value!r} is not a number of bytes")
    return int(value)
