"""Lists that go on: one page after the other, fetched when the one before is used up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from typing import TypeVar

from gpuyard.vendors.novita._async.transport import AsyncTransport
from gpuyard.vendors.novita.core import Call, PageWalk

T = TypeVar("T")
Page = tuple[list[T], int | None]
"""The items of one page, and how many there are in all."""


async def walk(
    transport: AsyncTransport,
    page_call: Callable[[int], Call[Page[T]]],
    identify: Callable[[T], Hashable],
    first: int = 0,
) -> AsyncIterator[T]:
    """Every item once, in the order it was first met."""
    pages = PageWalk(identify, first)
    while pages.page is not None:
        items, total = await transport.send(page_call(pages.page))
        for item in pages.take(items, total):
            yield item
