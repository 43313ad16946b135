"""Lists that go on: one page after the other, fetched when the one before is used up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from gpuyard import wire
from gpuyard.sdk.core import Call

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gpuyard.sdk._async.transport import AsyncTransport

M = TypeVar("M", bound="BaseModel")


async def pages(
    transport: AsyncTransport, path: str, query: Mapping[str, Any], shape: type[M]
) -> AsyncGenerator[M, None]:
    read = wire.Page[shape].model_validate_json  # type: ignore[valid-type]
    cursor: str | None = None
    while True:
        page = await transport.send(Call("GET", path, read, query={**query, "cursor": cursor}))
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return
