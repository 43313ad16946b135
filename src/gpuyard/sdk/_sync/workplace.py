# Made from `_async/` by scripts/generate_sync.py: change it there.
"""An instance as a place to work in: running things there, its files, its terminals."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuyard import wire
from gpuyard.sdk import _io, orders
from gpuyard.sdk._sync.executions import ExecutionFollower
from gpuyard.sdk._sync.files import Files
from gpuyard.sdk._sync.kernels import Kernels
from gpuyard.sdk._sync.pages import pages
from gpuyard.sdk._sync.terminal import Terminal, open_terminal
from gpuyard.sdk.core import API, Call, json_call, new_idempotency_key, segment
from gpuyard.sdk.errors import YardError
from gpuyard.sdk.folders import OnBytes
from gpuyard.sdk.orders import Duration, given
from gpuyard.sdk.results import ExecutionResult, OnRecord, OnText

if TYPE_CHECKING:
    from gpuyard.sdk._sync.transport import Transport


class Workplace:
    """What can be done inside an instance while it runs, whatever else is known of it."""

    def __init__(self, transport: Transport, instance_id: str) -> None:
        self.id = instance_id
        self._transport = transport
        self._path = f"{API}/instances/{segment(instance_id)}"
        self.files = Files(transport, self._path)
        self.kernels = Kernels(transport, self._path)

    # Running things

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
