# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Executions: following what they write, every byte once, and steering them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

from gpuyard import wire
from gpuyard.sdk.core import API, Call, json_call, nothing, segment, with_query
from gpuyard.sdk.results import ExecutionResult, OnRecord, OnText, Transcript, ended_view, text_of

if TYPE_CHECKING:
    from gpuyard.sdk._sync.transport import Transport

ENDED = frozenset({"succeeded", "failed", "cancelled", "lost"})


class ExecutionFollower:
    """One execution, running or ended. Its output is kept by the yard: it can be followed from anywhere, any time."""

    def __init__(self, transport: Transport, view: wire.ExecutionView) -> None:
        self._transport = transport
        self.view = view
        self._path = f"{API}/instances/{segment(view.instance_id)}/executions/{segment(view.id)}"

    @property
    def id(self) -> str:
        return self.view.id

    @property
    def instance_id(self) -> str:
        return self.view.instance_id

    @property
    def state(self) -> str:
        """As it was when last looked at; `refresh()` looks again."""
        return self.view.state

    @property
    def ended(self) -> bool:
        return self.view.state in ENDED

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"

    def refresh(self) -> wire.ExecutionView:
        self.view = self._transport.send(Call("GET", self._path, wire.ExecutionView.model_validate_json))
        return self.view

    def follow(self, after: int = 0, *, timeout: float | None = None) -> Generator[wire.Record, None]:
        """Every record once and in order, as it is written, until the execution has ended, whatever the network does.

        Raises TimedOut after `timeout` seconds; the execution goes on.
        """
        until = None if timeout is None else time.monotonic() + timeout
        read = wire.Record.model_validate_json
        ended = False
        events = self._transport.follow(f"{self._path}/output", query={"follow": True}, after=after, until=until)
        with closing(events):
            for event in events:
                if event is not None:
                    record = read(event.data)
                    if record.s == "exit":
                        ended, self.view = True, ended_view(self.view, record)
                    yield record
                elif ended or (self.refresh()).state in ENDED:
                    return

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_stdout: OnText | None = None,
        on_stderr: OnText | None = None,
        on_record: OnRecord | None = None,
    ) -> ExecutionResult:
        """Follow it to its end. Raises TimedOut after `timeout` seconds; the execution goes on."""
        transcript = Transcript(on_stdout, on_stderr, on_record)
        records = self.follow(timeout=timeout)
        with closing(records):
            for record in records:
                transcript.add(record)
        if not transcript.ended:
            self.refresh()
        return transcript.result(self.view)

    def logs(self) -> str:
        """What it wrote up to now, standard output and error as they came."""
        pieces: list[str] = []
        for record in self.records():
            if record.s in ("stdout", "stderr"):
                pieces.append(text_of(record))
        return "".join(pieces)

    def records(self, after: int = 0) -> Generator[wire.Record, None]:
        """The records there are now."""
        read = wire.Record.model_validate_json
        events = self._transport.follow(f"{self._path}/output", query={"follow": False}, after=after)
        with closing(events):
            for event in events:
                if event is None:
                    return
                yield read(event.data)

    def cancel(self) -> None:
        """Ask it to end. Of an ended one: no effect."""
        self.signal("TERM")

    def signal(self, signal: str) -> None:
        """Send `INT`, `TERM` or `KILL` to all its processes."""
        self._transport.send(json_call("POST", f"{self._path}/signal", nothing, {"signal": signal}))

    def stdin(self, text: str | bytes = b"", *, eof: bool = False) -> None:
        """Write to its standard input, which also answers `input()`; `eof=True` closes it."""
        path = with_query(f"{self._path}/stdin", {"eof": True if eof else None})
        body = text.encode() if isinstance(text, str) else text
        self._transport.send(Call("POST", path, nothing, body=body))
