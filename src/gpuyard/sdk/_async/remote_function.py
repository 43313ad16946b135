"""Functions that run in an instance, and the calls of them that go on by themselves."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from gpuyard.sdk import _io, shipping
from gpuyard.sdk._async import values
from gpuyard.sdk._async.executions import AsyncExecutionFollower
from gpuyard.sdk._async.workplace import AsyncWorkplace

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class AsyncPlace(Protocol):
    """Finds where one call is to run; what must be given back afterwards goes onto the stack."""

    async def __call__(self, stack: AsyncExitStack, /) -> AsyncWorkplace: ...


class AsyncHere:
    """Always the same place, which is nobody's to give back."""

    def __init__(self, workplace: AsyncWorkplace) -> None:
        self._workplace = workplace

    async def __call__(self, stack: AsyncExitStack, /) -> AsyncWorkplace:
        return self._workplace


class AsyncRemoteFunction(Generic[P, R]):
    """A function to be called as before, which runs elsewhere."""

    def __init__(
        self,
        function: Callable[P, R],
        place: AsyncPlace,
        *,
        kernel: str = "main",
        timeout: float | None = None,
        quiet: bool = False,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._shipped: shipping.Function | None = None
        self._place = place
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


class AsyncRemoteCall(Generic[T]):
    """A call that goes on by itself."""

    def __init__(
        self,
        instance: AsyncWorkplace,
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
