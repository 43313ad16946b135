"""What stays open for long ends soon after the key that opened it: revoked, expired, or worth less than it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from starlette.types import Scope

from gpuyard.domain.accounts import Caller
from gpuyard.domain.errors import Unauthenticated, YardError
from gpuyard.services.authentication import authenticate
from gpuyard.services.yard import Yard

LOOK_SECONDS = 2.0

_LAPSED = "gpuyard.lapsed"


def remember(scope: Scope, yard: Yard, key: str, caller: Caller) -> None:
    """Note by whose right this request was let in."""

    async def lapsed() -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await authenticate(yard, key) != caller:
                    return
            except Unauthenticated:
                return
            except YardError:
                continue  # the database is away, which says nothing about the key

    scope[_LAPSED] = lapsed


def lapsed(scope: Scope) -> asyncio.Task[None] | None:
    """Done when the key of this request is no longer what it was. None for a request that came without one."""
    watch: Callable[[], Coroutine[None, None, None]] | None = scope.get(_LAPSED)
    return None if watch is None else asyncio.create_task(watch())
