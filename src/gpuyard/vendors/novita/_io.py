"""What truly differs between the two clients, side by side."""

from __future__ import annotations

import threading

_NEVER = threading.Event()


async def async_sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def sync_sleep(seconds: float) -> None:
    _NEVER.wait(seconds)
