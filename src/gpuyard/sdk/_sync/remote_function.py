# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Functions that run in an instance, and the calls of them that go on by themselves."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

from gpuyard.sdk import _io, shipping
from gpuyard.sdk._sync import values
from gpuyard.sdk._sync.executions import ExecutionFollower
from gpuyard.sdk._sync.workplace import Workplace

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Place(Protocol):
    """Finds where one call is to run; what must be given back afterwards goes onto the stack."""

    def __call__(self, stack: ExitStack, /) -> Workplace: ...


class Here:
    """Always the same place, which is nobody's to give back."""

    def __init__(self, workplace: Workplace) -> None:
        self._workplace = workplace

    def __call__(self, stack: ExitStack, /) -> Workplace:
        return self._workplace


class RemoteFunction(Generic[P, R]):
    """A function to be called as before, which runs elsewhere."""

    def __init__(
        self,
        function: Callable[P, R],
        place: Place,
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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it there and wait for its value."""
        parcel = shipping.calling(self._source(), args, kwargs)
        with ExitStack() as stack:
            value: R = values.exchange(
                self._place(stack),
                parcel,
                f"the value of {self._source().name}()",
                kernel=self._kernel,
                timeout=self._timeout,
                on_stdout=None if self._quiet else _print_out,
                on_stderr=None if self._quiet else _print_err,
            )
            return value

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> RemoteCall[R]:
        """Start it there, in an interpreter of its own, and return at once; `.value()` waits."""
        parcel = shipping.calling(self._source(), args, kwargs)
        stack = ExitStack()
        try:
            instance = self._place(stack)
            values.send(instance, parcel)
            name = self._source().name
            follower = instance.submit(parcel.code, kind="python", name=name, timeout=self._timeout)
        except BaseException:
            _io.sync_finish(stack.close)
            raise
        return RemoteCall(instance, follower, parcel, stack, name)

    def _source(self) -> shipping.Function:
        if self._shipped is None:
            self._shipped = shipping.function_of(self._function)
        return self._shipped


class RemoteCall(Generic[T]):
    """A call that goes on by itself."""

    def __init__(
        self,
        instance: Workplace,
        follower: ExecutionFollower,
        parcel: shipping.Parcel,
        stack: ExitStack,
        name: str,
    ) -> None:
        self.instance = instance
        self.execution = follower
        self._parcel = parcel
        self._stack = stack
        self._name = name
        self._outcome: Callable[[], T] | None = None

    def value(self, timeout: float | None = None) -> T:
        """Wait for it. Gives the instance back, where it was ordered for this call. Raises TimedOut after `timeout` seconds,
        RemoteError for what the function raised; asked again, the same."""
        if self._outcome is None:
            result = self.execution.wait(timeout)
            try:
                value = values.outcome(self.instance, self._parcel, result, f"the value of {self._name}()")
                self._outcome = lambda: value
            except Exception as raised:
                self._outcome = functools.partial(_raise, raised)
            values.forget(self.instance, self._parcel.value_path)
            _io.sync_finish(self._stack.close)
        return self._outcome()

    def cancel(self) -> None:
        """Ask it to end, and give the instance back, where it was ordered for this call."""
        self.execution.cancel()
        _io.sync_finish(self._stack.close)


def _raise(error: Exception) -> Any:
    raise error


def _print_out(text: str) -> None:
    sys.stdout.write(text)


def _print_err(text: str) -> None:
    sys.stderr.write(text)
