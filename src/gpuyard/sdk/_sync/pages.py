# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Lists that go on: one page after the other, fetched when the one before is used up."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from gpuyard import wire
from gpuyard.sdk.core import Call

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gpuyard.sdk._sync.transport import Transport

M = TypeVar("M", bound="BaseModel")


def pages(transport: Transport, path: str, query: Mapping[str, Any], shape: type[M]) -> Generator[M, None]:
    read = wire.Page[shape].model_validate_json  # type: ignore[valid-type]
    cursor: str | None = None
    while True:
        page = transport.send(Call("GET", path, read, query={**query, "cursor": cursor}))
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
