"""An instance as a place to work in: running things there, its files, its terminals."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuyard import wire
from gpuyard.sdk import _io, orders
from gpuyard.sdk._async.executions import AsyncExecutionFollower
from gpuyard.sdk._async.files import AsyncFiles
from gpuyard.sdk._async.kernels import AsyncKernels
from gpuyard.sdk._async.pages import pages
from gpuyard.sdk._async.terminal import AsyncTerminal, open_terminal
from gpuyard.sdk.core import API, Call, json_call, new_idempotency_key, segment
from gpuyard.sdk.errors import YardError
from gpuyard.sdk.folders import OnBytes
from gpuyard.sdk.orders import Duration, given
from gpuyard.sdk.results import ExecutionResult, OnRecord, OnText

if TYPE_CHECKING:
    from gpuyard.sdk._async.transport import AsyncTransport


class AsyncWorkplace:
    """What can be done inside an instance while it runs, whatever else is known of it."""

    def __init__(self, transport: AsyncTransport, instance_id: str) -> None:
        self.id = instance_id
        self._transport = transport
        self._path = f"{API}/instances/{segment(instance_id)}"
        self.files = AsyncFiles(transport, self._path)
        self.kernels = AsyncKernels(transport, self._path)

    # Running things

    async def run(
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
        return await self._attached(order, on_stdout, on_stderr, on_record)

    async def shell(
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
        return await self._attached(order, on_stdout, on_stderr, on_record)

    async def argv(
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
        return await self._attached(order, on_stdout, on_stderr, on_record)

    async def submit(
        self,
        what: str | Sequence[str],
        *,
        kind: str | None = None,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
    ) -> AsyncExecutionFollower:
        """Start something that goes on without us: a text for bash, a list of a program and its arguments, or with
        `kind="python"` Python code in a fresh interpreter. Its output is kept; follow it now or later."""
        kind = kind or ("shell" if isinstance(what, str) else "argv")
        field = {"shell": "command", "python": "code"}.get(kind, "argv")
        asked = what if isinstance(what, str) else list(what)
        order = given(
            kind=kind, name=name, env=env, timeout_seconds=orders.seconds(timeout), detached=True, **{field: asked}
        )
        return await self.execute(order)

    async def execute(self, order: Mapping[str, Any]) -> AsyncExecutionFollower:
        """Start an execution as the API describes it; the other ways to run things all come here.

        Asked again by itself when the answer gets lost: an idempotency key keeps it one execution.
        """
        path = f"{self._path}/executions"
        key = new_idempotency_key()
        call = json_call("POST", path, wire.ExecutionView.model_validate_json, order, idempotency_key=key)
        return AsyncExecutionFollower(self._transport, await self._transport.send(call))

    async def execution(self, execution_id: str) -> AsyncExecutionFollower:
        """One that was started before, from here or elsewhere. Raises NotFound."""
        path = f"{self._path}/executions/{segment(execution_id)}"
        view = await self._transport.send(Call("GET", path, wire.ExecutionView.model_validate_json))
        return AsyncExecutionFollower(self._transport, view)

    async def executions(self, *, state: str | None = None) -> AsyncGenerator[AsyncExecutionFollower, None]:
        """All there were, newest first."""
        query = {"state": state}
        async for view in pages(self._transport, f"{self._path}/executions", query, wire.ExecutionView):
            yield AsyncExecutionFollower(self._transport, view)

    # Files and terminals

    async def upload(
        self,
        local: str | os.PathLike[str],
        remote: str | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> str:
        """Send a file or a folder; returns where it is. See `files.upload`."""
        return await self.files.upload(local, remote, exclude=exclude, progress=progress)

    async def download(
        self,
        remote: str,
        local: str | os.PathLike[str] | None = None,
        *,
        exclude: Sequence[str] = (),
        progress: OnBytes | None = None,
    ) -> Path:
        """Fetch a file or a folder; returns where it is. See `files.download`."""
        return await self.files.download(remote, local, exclude=exclude, progress=progress)

    async def terminal(self, name: str = "main", *, columns: int = 80, rows: int = 24) -> AsyncTerminal:
        """Open a terminal, or join the one of that name."""
        return await open_terminal(self._transport, self._path, name, columns, rows)

    async def _attached(
        self,
        order: Mapping[str, Any],
        on_stdout: OnText | None,
        on_stderr: OnText | None,
        on_record: OnRecord | None,
    ) -> ExecutionResult:
        follower = await self.execute(order)
        try:
            return await follower.wait(on_stdout=on_stdout, on_stderr=on_stderr, on_record=on_record)
        except BaseException as cause:
            if not isinstance(cause, YardError):
                await _io.async_finish(lambda: self._interrupt(follower))
            raise

    async def _interrupt(self, follower: AsyncExecutionFollower) -> None:
        try:
            await follower.signal("INT")
        except YardError:
            return  # it ended, or the yard is away: there is nothing left to interrupt from here
