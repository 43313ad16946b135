"""What an execution wrote and how it went, put together from the records of its journal."""

from __future__ import annotations

import ast
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuyard.sdk.yard_error import YardError

if TYPE_CHECKING:
    from gpuyard.wire.executions import ExecutionView, Record

OnText = Callable[[str], object]
OnRecord = Callable[["Record"], object]


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """An execution that has ended."""

    id: str
    stdout: str
    stderr: str
    exit_code: int | None
    """None when the instance ended before the execution did."""
    reason: str = ""
    """`""`, or what ended it: `timeout`, `cancelled`, `killed`, `kernel_died`, `resident_restarted`, `lost`."""
    result: str | None = None
    """The `repr` of the last expression of Python code."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The same in every form the kernel offered: MIME type → content."""
    displays: Sequence[Mapping[str, Any]] = ()
    """Pictures, tables and other rich output, in order."""
    error: str | None = None
    """`NameError: name 'x' is not defined`, when Python code raised."""
    traceback: str = ""
    elided_bytes: int = 0
    """Output that the journal had no room for."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.reason

    @property
    def value(self) -> Any:
        """The last expression, where its `repr` is a literal; `instance.get(name)` brings any other value.

        Raises ValueError for what is no literal.
        """
        return None if self.result is None else ast.literal_eval(self.result)

    def raise_for_status(self) -> ExecutionResult:
        """Itself, or ExecutionFailed with the reason."""
        if self.ok:
            return self
        failed = ExecutionFailed(self._summary(), result=self)
        if self.traceback:
            failed.add_note(f"in the instance:\n{self.traceback.rstrip()}")
        raise failed

    def _summary(self) -> str:
        if self.error:
            return self.error
        why = self.reason or (f"exit code {self.exit_code}" if self.exit_code is not None else "it did not end")
        last = self.stderr.rstrip().rpartition("\n")[2].strip()
        return f"{why}: {last}" if last else why


class ExecutionFailed(YardError):
    """The execution ended otherwise than with exit code 0; `result` has all it wrote."""

    code = "execution_failed"

    def __init__(self, message: str, *, result: ExecutionResult, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = result


def text_of(record: Record) -> str:
    """The text of a piece of output; bytes that are no UTF-8 are replaced."""
    if record.d is not None:
        return record.d
    return bytes_of(record).decode("utf-8", "replace")


def bytes_of(record: Record) -> bytes:
    if record.b64 is not None:
        return base64.b64decode(record.b64)
    return (record.d or "").encode()


def ended_view(view: ExecutionView, exit_record: Record) -> ExecutionView:
    """The execution as its last record leaves it, without asking the yard again."""
    code, reason = exit_record.code, exit_record.reason or ""
    state = "cancelled" if reason == "cancelled" else "succeeded" if code == 0 and not reason else "failed"
    return view.model_validate({**view.model_dump(), "state": state, "exit_code": code, "reason": reason})


class Transcript:
    """Listens to the records of one execution and tells whoever wants to hear of them."""

    def __init__(
        self,
        on_stdout: OnText | None = None,
        on_stderr: OnText | None = None,
        on_record: OnRecord | None = None,
    ) -> None:
        self._heard = {"stdout": on_stdout, "stderr": on_stderr}
        self._on_record = on_record
        self._text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._displays: list[Mapping[str, Any]] = []
        self._result: Record | None = None
        self._error: Record | None = None
        self._exit: Record | None = None
        self._elided = 0

    def add(self, record: Record) -> None:
        if record.s in self._text:
            text = text_of(record)
            self._text[record.s].append(text)
            listener = self._heard[record.s]
            if listener is not None:
                listener(text)
        elif record.s == "display":
            self._displays.append(record.data or {})
        elif record.s == "result":
            self._result = record
        elif record.s == "error":
            self._error = record
        elif record.s == "elided":
            self._elided += record.bytes or 0
        elif record.s == "exit":
            self._exit = record
        if self._on_record is not None:
            self._on_record(record)

    @property
    def ended(self) -> bool:
        return self._exit is not None

    @property
    def displays(self) -> Sequence[Mapping[str, Any]]:
        return self._displays

    def result(self, view: ExecutionView) -> ExecutionResult:
        """What came of it. `view` fills in for a journal that was cut off with its instance."""
        exit_code, reason = view.exit_code, view.reason
        if self._exit is not None:
            exit_code, reason = self._exit.code, self._exit.reason or ""
        error = self._error
        return ExecutionResult(
            id=view.id,
            stdout="".join(self._text["stdout"]),
            stderr="".join(self._text["stderr"]),
            exit_code=exit_code,
            reason=reason,
            result=view.result if self._result is None else self._result.text,
            data=(self._result.data if self._result else None) or {},
            displays=tuple(self._displays),
            error=None if error is None else f"{error.ename}: {error.evalue}",
            traceback=(error.traceback if error else None) or "",
            elided_bytes=self._elided,
        )
