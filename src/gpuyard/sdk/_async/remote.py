"""The decorator `remote`: a function that runs in an instance, in one that is there or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, ParamSpec, TypeVar, overload

from gpuyard.sdk import orders
from gpuyard.sdk._async.client import AsyncClient
from gpuyard.sdk._async.instance import AsyncInstance
from gpuyard.sdk._async.remote_function import AsyncHere, AsyncRemoteFunction
from gpuyard.sdk._async.workplace import AsyncWorkplace
from gpuyard.sdk.orders import Duration

P = ParamSpec("P")
R = TypeVar("R")


@overload
def remote(function: Callable[P, R], /) -> AsyncRemoteFunction[P, R]: ...
@overload
def remote(
    *,
    client: AsyncClient | None = None,
    instance: AsyncInstance | None = None,
    kernel: str = "main",
    timeout: Duration | None = None,
    quiet: bool = False,
    **order: Any,
) -> Callable[[Callable[P, R]], AsyncRemoteFunction[P, R]]: ...
def remote(
    function: Callable[P, R] | None = None,
    /,
    *,
    client: AsyncClient | None = None,
    instance: AsyncInstance | None = None,
    kernel: str = "main",
    timeout: Duration | None = None,
    quiet: bool = False,
    **order: Any,
) -> AsyncRemoteFunction[P, R] | Callable[[Callable[P, R]], AsyncRemoteFunction[P, R]]:
    """Make a function run in an instance: its source and the pickled arguments go there, its value comes back.

    With `instance`, in a kernel of that one. Without, every call has an instance of its own, ordered with the remaining
    arguments as for `client.instances.create` (`@remote(gpu="rtx-4090", max_cost="1")`), and deleted at the end.
    What it prints is printed here as well, unless `quiet`. What it raises is raised here as RemoteError.

    The function stands alone: it imports what it needs inside, and takes the rest as arguments.
    """

    def wrap(function: Callable[P, R]) -> AsyncRemoteFunction[P, R]:
        place = _Ordered(client, order) if instance is None else AsyncHere(instance)
        return AsyncRemoteFunction(function, place, kernel=kernel, timeout=orders.seconds(timeout), quiet=quiet)

    return wrap if function is None else wrap(function)


class _Ordered:
    """An instance for one call, with a client for one call where none is given."""

    def __init__(self, client: AsyncClient | None, order: dict[str, Any]) -> None:
        self._client = client
        self._order = order

    async def __call__(self, stack: AsyncExitStack, /) -> AsyncWorkplace:
        client = self._client
        if client is None:
            client = await stack.enter_async_context(AsyncClient())
        return await stack.enter_async_context(client.instance(**self._order))
