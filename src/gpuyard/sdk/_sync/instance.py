# Made from `_async/` by scripts/generate_sync.py: change it there.
"""One instance: what it is, waiting for it, and running things in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gpuyard import wire
from gpuyard.sdk import _io, orders, shipping
from gpuyard.sdk._sync import values
from gpuyard.sdk._sync.executions import ExecutionFollower
from gpuyard.sdk._sync.files import Files
from gpuyard.sdk._sync.kernels import Kernels
from gpuyard.sdk._sync.pages import pages
from gpuyard.sdk._sync.terminal import Terminal, open_terminal
from gpuyard.sdk.core import API, Call, json_call, new_idempotency_key, segment
from gpuyard.sdk.errors import ConnectionFailed, NotFound, TimedOut, YardError
from gpuyard.sdk.folders import OnBytes
from gpuyard.sdk.orders import Amount, Duration, given
from gpuyard.sdk.results import ExecutionResult, OnRecord, OnText
from gpuyard.sdk.waiting import UNREACHABLE_SECONDS, OnProgress, Progress, arrived, gave_up, pauses

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from gpuyard.domain.instances import InstanceState
    from gpuyard.sdk._sync.remote import RemoteFunction
    from gpuyard.sdk._sync.transport import Transport

P = ParamSpec("P")
R = TypeVar("R")


class Instance:
    """An instance as it was when last looked at, and what can be done with it. `refresh()` looks again.

    Every field of the API's instance is an attribute. As a context manager it is deleted at the end of the block.
    """

    if TYPE_CHECKING:
        id: str
        short_id: str
        name: str
        state: InstanceState
        state_reason: str
        entered_at: datetime
        gpus: list[wire.GpuView]
        vcpus: int
        ram_gb: int
        disk_gb: int
        image: str
        env: dict[str, str]
        ports: list[int]
        labels: dict[str, str]
        limits: wire.LimitsView
        placement: wire.PlacementView
        priority: int
        provider: str | None
        region: str | None
        simulated: bool
        price_per_hour_micro: int | None
        currency: str
        created_at: datetime
        running_at: datetime | None
        line_position: int | None
        url_path: str
        app_password: str | None

    def __init__(self, transport: Transport, view: wire.InstanceView) -> None:
        self._transport = transport
        self.view = view
        self._path = f"{API}/instances/{segment(view.id)}"
        self.files = Files(transport, self._path)
        self.kernels = Kernels(transport, self._path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "view":
            raise AttributeError(name)
        return getattr(self.view, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.short_id} {self.state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _io.sync_finish(self.delete)

    # Its life

    def refresh(self) -> Self:
        """Look again. Raises NotFound when it is not there any more."""
        self.view = self._transport.send(Call("GET", self._path, wire.InstanceView.model_validate_json))
        return self

    def stop(self) -> Self:
        """Give the GPUs back and keep the disk; returns at once, in state `stopping`."""
        return self._told("POST", "/stop", {})

    def start(self, *, wait: bool = False) -> Self:
        """Start a stopped one again; `wait` joins the line when there is no capacity now."""
        return self._told("POST", "/start", {"wait": wait})

    def delete(self) -> None:
        """Delete it with its disk; returns at once. Of one that is gone: no effect."""
        try:
            self.view = self._transport.send(Call("DELETE", self._path, wire.InstanceView.model_validate_json))
        except NotFound:
            return

    def rename(self, name: str) -> Self:
        return self.change(name=name)

    def change(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        max_cost: Amount | None = None,
        max_cost_micro: int | None = None,
        max_duration: Duration | None = None,
        max_idle: Duration | None = None,
        max_start: Duration | None = None,
        lift: Sequence[str] = (),
        priority: int | None = None,
    ) -> Self:
        """Change what is given and nothing else. `lift=["max_cost"]` takes a limit away."""
        limits = orders.limits(max_cost, max_cost_micro, max_duration, max_idle, max_start)
        limits.update(orders.lifted(lift))
        body = given(
            name=name, labels=None if labels is None else dict(labels), limits=limits or None, priority=priority
        )
        return self._told("PATCH", "", body)

    def _told(self, method: str, action: str, body: Mapping[str, Any]) -> Self:
        call = json_call(method, self._path + action, wire.InstanceView.model_validate_json, body)
        self.view = self._transport.send(call)
        return self

    def wait_until_running(self, timeout: Duration | None = None, *, on_progress: OnProgress | None = None) -> Self:
        """Wait until code can run in it. Raises InstanceFailed when it never will, TimedOut after `timeout`."""
        return self.wait_until("running", timeout=timeout, on_progress=on_progress)

    def wait_until(self, *states: str, timeout: Duration | None = None, on_progress: OnProgress | None = None) -> Self:
        """Wait until it is in one of the states; a look that finds nothing to have changed is told as well."""
        started, heard = time.monotonic(), time.monotonic()
        limit = orders.seconds(timeout)
        for pause in pauses():
            try:
                self.refresh()
                heard = time.monotonic()
            except NotFound:
                if "deleted" in states:
                    return self
                raise
            except (ConnectionFailed, TimedOut):
                if time.monotonic() - heard > UNREACHABLE_SECONDS:
                    raise
            elapsed = time.monotonic() - started
            if on_progress is not None:
                view = self.view
                on_progress(Progress(view.state, view.state_reason, view.line_position, timedelta(seconds=elapsed)))
            if arrived(self.view, states):
                return self
            if limit is not None and elapsed >= limit:
                raise gave_up(self.view, states, limit)
            _io.sync_sleep(pause if limit is None else min(pause, limit - elapsed))
        return self

    def why(self) -> wire.WhyView:
        """Why it is in its state, in words, with every try to place it."""
        return self._transport.send(Call("GET", f"{self._path}/why", wire.WhyView.model_validate_json))

    def usage(self) -> wire.InstanceUsage:
        """What it cost so far, and where the time went."""
        return self._transport.send(Call("GET", f"{self._path}/usage", wire.InstanceUsage.model_validate_json))

    def samples(self) -> wire.SamplesView:
        """What its GPUs, processors, memory and disk are doing."""
        return self._transport.send(Call("GET", f"{self._path}/samples", wire.SamplesView.model_validate_json))

    def open(self) -> str:
        """An address that opens the instance's applications once, in a browser that has no key."""
        view = self._transport.send(json_call("POST", f"{self._path}/open", wire.OpenView.model_validate_json, {}))
        return self._transport.url + view.url

    # Running things in it

    def run(
        self,
        code: str,
        *,
        kernel: str = "main",
        env: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        on_stdout: OnText | None = None,
        on_stderr: OnText | None = None,
        on_record: OnRecord | None = None,
    ) -> ExecutionResult:
        """Run Python in a kernel that keeps its state, and wait for it. What goes wrong in the code is in the result
        (`raise_for_status()`), not raised. Interrupted here, the code is interrupted there."""
        order = given(kind="python", code=code, kernel=kernel, env=env, timeout_seconds=orders.seconds(timeout))
        return self._attached(order, on_stdout, on_stderr, on_record)

    def shell(
        self,
        command: str,
        *,
        env: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        on_stdout: OnText | None = None,
        on_stderr: OnText | None = None,
        on_record: OnRecord | None = None,
    ) -> ExecutionResult:
        """Run a text of any length with bash, and wait for it."""
        order = given(kind="shell", command=command, env=env, timeout_seconds=orders.seconds(timeout))
        return self._attached(order, on_stdout, on_stderr, on_record)

    def argv(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        on_stdout: OnText | None = None,
        on_stderr: OnText | None = None,
        on_record: OnRecord | None = None,
    ) -> ExecutionResult:
        """Run a program with its arguments, no shell in between, and wait for it."""
        order = given(kind="argv", argv=list(argv), env=env, timeout_seconds=orders.seconds(timeout))
        return self._attached(order, on_stdout, on_stderr, on_record)

    def submit(
        self,
        what: str | Sequence[str],
        *,
        kind: str | None = None,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
    ) -> ExecutionFollower:
        """Start something that goes on without us: a text for bash, a list of a program and its arguments, or with
        `kind="python"` Python code in a fresh interpreter. Its output is kept; follow it now or later."""
        kind = kind or ("shell" if isinstance(what, str) else "argv")
        field = {"shell": "command", "python": "code"}.get(kind, "argv")
        asked = what if isinstance(what, str) else list(what)
        order = given(
            kind=kind, name=name, env=env, timeout_seconds=orders.seconds(timeout), detached=True, **{field: asked}
        )
        return self.execute(order)

    def execute(self, order: Mapping[str, Any]) -> ExecutionFollower:
        """Start an execution as the API describes it; the other ways to run things all come here.

        Asked again by itself when the answer gets lost: an idempotency key keeps it one execution.
        """
        path = f"{self._path}/executions"
        key = new_idempotency_key()
        call = json_call("POST", path, wire.ExecutionView.model_validate_json, order, idempotency_key=key)
        return ExecutionFollower(self._transport, self._transport.send(call))

    def execution(self, execution_id: str) -> ExecutionFollower:
        """One that was started before, from here or elsewhere. Raises NotFound."""
        path = f"{self._path}/executions/{segment(execution_id)}"
        view = self._transport.send(Call("GET", path, wire.ExecutionView.model_validate_json))
        return ExecutionFollower(self._transport, view)

    def executions(self, *, state: str | None = None) -> Generator[ExecutionFollower, None]:
        """All there were, newest first."""
        query = {"state": state}
        for view in pages(self._transport, f"{self._path}/executions", query, wire.ExecutionView):
            yield ExecutionFollower(self._transport, view)

    def set(self, name: str, value: object, *, kernel: str = "main") -> None:
        """Give a variable of the kernel a value; it travels as a pickle. Raises RemoteError when it cannot be unpickled
        there."""
        values.exchange(self, shipping.setting(name, value), f"{name} =", kernel=kernel)

    def get(self, name: str, *, kernel: str = "main") -> Any:
        """The value of a variable of the kernel; it travels as a pickle. Raises NotFound, RemoteError.

        Unpickling runs what the instance sends: ask it of instances of your own account alone.
        """
        return values.exchange(self, shipping.getting(name), f"the value of {name}", kernel=kernel)

    def remote(self, function: Callable[P, R], /) -> RemoteFunction[P, R]:
        """The function, to be called as before, running here. As a decorator: `@instance.remote`."""
        from gpuyard.sdk._sync.remote import remote

        return remote(instance=self)(function)

    # Files and terminals

    def upload(
        self,
        local: str | os.PathLike[str],
        remote: str | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> str:
        """Send a file or a folder; returns where it is. See `files.upload`."""
        return self.files.upload(local, remote, exclude=exclude, progress=progress)

    def download(
        self,
        remote: str,
        local: str | os.PathLike[str] | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> Path:
        """Fetch a file or a folder; returns where it is. See `files.download`."""
        return self.files.download(remote, local, exclude=exclude, progress=progress)

    def terminal(self, name: str = "main", *, columns: int = 80, rows: int = 24) -> Terminal:
        """Open a terminal, or join the one of that name."""
        return open_terminal(self._transport, self._path, name, columns, rows)

    def _attached(
        self,
        order: Mapping[str, Any],
        on_stdout: OnText | None,
        on_stderr: OnText | None,
        on_record: OnRecord | None,
    ) -> ExecutionResult:
        follower = self.execute(order)
        try:
            return follower.wait(on_stdout=on_stdout, on_stderr=on_stderr, on_record=on_record)
        except BaseException as cause:
            if not isinstance(cause, YardError):
                _io.sync_finish(lambda: self._interrupt(follower))
            raise

    def _interrupt(self, follower: ExecutionFollower) -> None:
        try:
            follower.signal("INT")
        except YardError:
            return  # it ended, or the yard is away: there is nothing left to interrupt from here
