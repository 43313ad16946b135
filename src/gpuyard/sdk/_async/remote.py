"""Functions that run in an instance: the decorator `remote`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from gpuyard.sdk import _io, orders, shipping
from gpuyard.sdk._async import values
from gpuyard.sdk._async.client import AsyncClient
from gpuyard.sdk.orders import Duration

if TYPE_CHECKING:
    from gpuyard.sdk._async.executions import AsyncExecutionFollower
    from gpuyard.sdk._async.instance import AsyncInstance

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Place = Callable[[AsyncExitStack], "Any"]
"""Finds the instance to run in; what must be given back afterwards goes onto the stack."""


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
        return AsyncRemoteFunction(
            function, client, instance, order, kernel=kernel, timeout=orders.seconds(timeout), quiet=quiet
        )

    return wrap if function is None else wrap(function)


class AsyncRemoteFunction(Generic[P, R]):
    """A function to be called as before, which runs elsewhere."""

    def __init__(
        self,
        function: Callable[P, R],
        client: AsyncClient | None,
        instance: AsyncInstance | None,
        order: dict[str, Any],
        *,
        kernel: str,
        timeout: float | None,
        quiet: bool,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._shipped: shipping.Function | None = None
        self._client = client
        self._instance = instance
        self._order = order
        self._kernel = kernel
        self._timeout = timeout
        self._quiet = quiet

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here, as if it were not decorated."""
        return self._function(*args, **kwargs)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it there and wait for its value."""
        parcel = shipping.calling(self._source(), args, kwargs)
        async with AsyncExitStack() as stack:
            value: R = await values.exchange(
                await self._place(stack),
                parcel,
                f"the value of {self._source().name}()",
                kernel=self._kernel,
                timeout=self._timeout,
                on_stdout=None if self._quiet else _print_out,
                on_stderr=None if self._quiet else _print_err,
            )
            return value

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncRemoteCall[R]:
        """Start it there, in an interpreter of its own, and return at once; `.value()` waits."""
        parcel = shipping.calling(self._source(), args, kwargs)
        stack = AsyncExitStack()
        try:
            instance = await self._place(stack)
            await values.send(instance, parcel)
            name = self._source().name
            follower = await instance.submit(parcel.code, kind="python", name=name, timeout=self._timeout)
        except BaseException:
            await _io.async_finish(stack.aclose)
            raise
        return AsyncRemoteCall(instance, follower, parcel, stack, name)

    def _source(self) -> shipping.Function:
        if self._shipped is None:
            self._shipped = shipping.function_of(self._function)
        return self._shipped

    async def _place(self, stack: AsyncExitStack) -> AsyncInstance:
        if self._instance is not None:
            return self._instance
        client = self._client
        if client is None:
            client = await stack.enter_async_context(AsyncClient())
        return await stack.enter_async_context(client.instance(**self._order))


class AsyncRemoteCall(Generic[T]):
    """A call that goes on by itself."""

    def __init__(
        self,
        instance: AsyncInstance,
        follower: AsyncExecutionFollower,
        parcel: shipping.Parcel,
        stack: AsyncExitStack,
        name: str,
    ) -> None:
        self.instance = instance
        self.execution = follower
        self._parcel = parcel
        self._stack = stack
        self._name = name
        self._outcome: Callable[[], T] | None = None

    async def value(self, timeout: float | None = None) -> T:
        """Wait for it. Gives the instance back, where it was ordered for this call. Raises TimedOut after `timeout` seconds,
        RemoteError for what the function raised; asked again, the same."""
        if self._outcome is None:
            result = await self.execution.wait(timeout)
            try:
                value = await values.outcome(self.instance, self._parcel, result, f"the value of {self._name}()")
                self._outcome = lambda: value
            except Exception as raised:
                self._outcome = functools.partial(_raise, raised)
            await values.forget(self.instance, self._parcel.value_path)
            await _io.async_finish(self._stack.aclose)
        return self._outcome()

    async def cancel(self) -> None:
        """Ask it to end, and give the instance back, where it was ordered for this call."""
        await self.execution.cancel()
        await _io.async_finish(self._stack.aclose)


def _raise(error: Exception) -> Any:
    raise error


def _print_out(text: str) -> None:
    sys.stdout.write(text)


def _print_err(text: str) -> None:
    sys.stderr.write(text)
