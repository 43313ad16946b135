# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Lists that go on: one page after the other, fetched when the one before is used up."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

from gpuyard.vendors.novita._sync.transport import Transport
from gpuyard.vendors.novita.core import Call, PageWalk

T = TypeVar("T")
Page = tuple[list[T], int | None]
"""The items of one page, and how many there are in all."""


def walk(
    transport: Transport,
    page_call: Callable[[int], Call[Page[T]]],
    identify: Callable[[T], Hashable],
    first: int = 0,
) -> Iterator[T]:
    """Every item once, in the order it was first met."""
    pages = PageWalk(identify, first)
    while pages.page is not None:
        items, total = transport.send(page_call(pages.page))
        yield from pages.take(items, total)
