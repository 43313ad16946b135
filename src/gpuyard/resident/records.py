"""The lines of a journal (docs/resident.md) made from bytes and values; no file, no clock."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

TEXT_LIMIT = 64 * 1024
"""No output record carries more bytes of output than this."""

_CONTINUATION = range(0x80, 0xC0)
_LEADS = ((range(0xC2, 0xE0), 2), (range(0xE0, 0xF0), 3), (range(0xF0, 0xF5), 4))

# Legal inside JSON, but line ends to readers that split text the way Python's `splitlines` does.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def unfinished(data: bytes) -> int:
    """How many bytes at the end of `data` begin a UTF-8 character that is not there in full."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte in _CONTINUATION:
            continue
        length = next((length for leads, length in _LEADS if byte in leads), 1)
        return back if length > back else 0
    return 0


def pieces(data: bytes) -> Iterator[bytes]:
    """`data` in parts of at most TEXT_LIMIT bytes, never cut inside a character."""
    start = 0
    while len(data) - start > TEXT_LIMIT:
        cut = start + TEXT_LIMIT
        cut -= unfinished(data[cut - 3 : cut])
        yield data[start:cut]
        start = cut
    if start < len(data):
        yield data[start:]


def output(at: float, stream: str, data: bytes, parent: str | None = None) -> bytes:
    """One record of program output: text where it is UTF-8, base64 where it is not."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        body = f'"b64":"{base64.b64encode(data).decode()}"'
    else:
        body = f'"d":{_quoted(text)}'
    family = "" if parent is None else f',"parent":{json.dumps(parent)}'
    return f'{{"t":{at:.6f},"s":"{stream}",{body}{family}}}\n'.encode()


def record(at: float, kind: str, fields: Mapping[str, Any]) -> bytes:
    """Any other record; `fields` must be JSON."""
    line = json.dumps({"t": round(at, 6), "s": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    if not line.isascii():
        line = line.translate(_LINE_ENDS)
    # A kernel may send half a surrogate pair, which no encoding can carry.
    return line.encode("utf-8", "replace") + b"\n"


def _quoted(text: str) -> str:
    quoted = encode_basestring(text)
    return quoted if text.isascii() else quoted.translate(_LINE_ENDS)
