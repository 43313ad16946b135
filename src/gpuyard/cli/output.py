"""What a program in an instance wrote, written here as it was: byte for byte, each on its own stream."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from gpuyard.wire import Record


class Output:
    """Standard output goes to ours, or with `all_to_stderr` (where ours carries JSON) to standard error."""

    def __init__(self, *, all_to_stderr: bool = False) -> None:
        self._err: BinaryIO = sys.stderr.buffer
        self._out: BinaryIO = self._err if all_to_stderr else sys.stdout.buffer
        self.exit_code: int | None = None
        """Known once its last record was written."""
        self.reason = ""
        self._midline: dict[BinaryIO, bool] = {}

    def write(self, record: Record) -> None:
        match record.s:
            case "stdout":
                self._put(self._out, _bytes(record))
            case "stderr":
                self._put(self._err, _bytes(record))
            case "result" if record.text:
                self._put(self._out, f"{record.text}\n".encode())
            case "error":
                self._put(self._err, f"{(record.traceback or record.evalue or '').rstrip()}\n".encode())
            case "elided":
                self._put(self._err, f"[{record.bytes} bytes of output were not kept]\n".encode())
            case "exit":
                self.exit_code, self.reason = record.code, record.reason or ""
            case _:
                pass

    def write_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.write(record)

    def end_line(self) -> None:
        """In a terminal, our next remark starts on a line of its own."""
        for stream, midline in self._midline.items():
            if midline and stream.isatty():
                stream.write(b"\n")
                stream.flush()
        self._midline.clear()

    def _put(self, stream: BinaryIO, text: bytes) -> None:
        if text:
            stream.write(text)
            stream.flush()
            self._midline[stream] = not text.endswith(b"\n")


def _bytes(record: Record) -> bytes:
    from gpuyard.sdk.results import bytes_of

    return bytes_of(record)
