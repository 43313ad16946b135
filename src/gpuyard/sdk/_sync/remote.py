# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Functions that run in an instance: the decorator `remote`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from gpuyard.sdk import _io, orders, shipping
from gpuyard.sdk._sync import values
from gpuyard.sdk._sync.client import Client
from gpuyard.sdk.orders import Duration

if TYPE_CHECKING:
    from gpuyard.sdk._sync.executions import ExecutionFollower
    from gpuyard.sdk._sync.instance import Instance

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Place = Callable[[ExitStack], "Any"]
"""Finds the instance to run in; what must be given back afterwards goes onto the stack."""


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
        return RemoteFunction(
            function, client, instance, order, kernel=kernel, timeout=orders.seconds(timeout), quiet=quiet
        )

    return wrap if function is None else wrap(function)


class RemoteFunction(Generic[P, R]):
    """A function to be called as before, which runs elsewhere."""

    def __init__(
        self,
        function: Callable[P, R],
        client: Client | None,
        instance: Instance | None,
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

    def _place(self, stack: ExitStack) -> Instance:
        if self._instance is not None:
            return self._instance
        client = self._client
        if client is None:
            client = stack.enter_context(Client())
        return stack.enter_context(client.instance(**self._order))


class RemoteCall(Generic[T]):
    """A call that goes on by itself."""

    def __init__(
        self,
        instance: Instance,
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
