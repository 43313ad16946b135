# Made from `_async/` by scripts/generate_sync.py: change it there.
"""The decorator `remote`: a function that runs in an instance, in one that is there or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar, overload

from gpuyard.sdk import orders
from gpuyard.sdk._sync.client import Client
from gpuyard.sdk._sync.instance import Instance
from gpuyard.sdk._sync.remote_function import Here, RemoteFunction
from gpuyard.sdk._sync.workplace import Workplace
from gpuyard.sdk.orders import Duration

P = ParamSpec("P")
R = TypeVar("R")


@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(
    *,
    client: Client | None = None,
    instance: Instance | None = None,
    kernel: str = "main",
    timeout: Duration | None = None,
    quiet: bool = False,
    **order: Any,
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
def remote(
    function: Callable[P, R] | None = None,
    /,
    *,
    client: Client | None = None,
    instance: Instance | None = None,
    kernel: str = "main",
    timeout: Duration | None = None,
    quiet: bool = False,
    **order: Any,
) -> RemoteFunction[P, R] | Callable[[Callable[P, R]], RemoteFunction[P, R]]:
    """Make a function run in an instance: its source and the pickled arguments go there, its value comes back.

    With `instance`, in a kernel of that one. Without, every call has an instance of its own, ordered with the remaining
    arguments as for `client.instances.create` (`@remote(gpu="rtx-4090", max_cost="1")`), and deleted at the end.
    What it prints is printed here as well, unless `quiet`. What it raises is raised here as RemoteError.

    The function stands alone: it imports what it needs inside, and takes the rest as arguments.
    """

    def wrap(function: Callable[P, R]) -> RemoteFunction[P, R]:
        place = _Ordered(client, order) if instance is None else Here(instance)
        return RemoteFunction(function, place, kernel=kernel, timeout=orders.seconds(timeout), quiet=quiet)

    return wrap if function is None else wrap(function)


class _Ordered:
    """An instance for one call, with a client for one call where none is given."""

    def __init__(self, client: Client | None, order: dict[str, Any]) -> None:
        self._client = client
        self._order = order

    def __call__(self, stack: ExitStack, /) -> Workplace:
        client = self._client
        if client is None:
            client = stack.enter_context(Client())
        return stack.enter_context(client.instance(**self._order))
