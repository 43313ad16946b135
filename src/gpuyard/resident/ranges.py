"""HTTP's ways to ask for a part of a file or to send one (RFC 9110), as plain functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime

# No file has more bytes than 18 digits say, and Python refuses to read numbers of thousands of them.
_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{size}"


class Unsatisfiable(ValueError):
    """The range lies wholly behind the end of the file."""


def asked_span(header: str | None, size: int) -> Span | None:
    """What a `Range` header asks of a file of `size` bytes; None means all of it.

    What is not a range of bytes, or several at once, is ignored, as the standard allows. Raises Unsatisfiable.
    """
    unit, _, text = (header or "").strip().partition("=")
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if unit.strip().lower() != "bytes" or match is None or match.group(0) == "-":
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or (not first and int(last) == 0):
        raise Unsatisfiable(f"the file has {size} bytes")
    return Span(start, stop)


@dataclass(frozen=True, slots=True)
class SentSpan:
    """What a `Content-Range` header says of a body: these bytes of a file of `total`."""

    span: Span
    total: int


def sent_span(header: str) -> SentSpan | None:
    """Read `bytes a-b/total`; None when it says something else or nothing possible."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last, total = map(int, match.groups())
    return SentSpan(Span(first, last + 1), total) if first <= last < total else None


def unchanged(headers: Mapping[str, str], etag: str, modified_at: float) -> bool:
    """Does the caller have this very version already? `If-None-Match` outweighs `If-Modified-Since`."""
    known = headers.get("if-none-match")
    if known is not None:
        return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return _not_after(headers.get("if-modified-since"), modified_at)


def range_applies(headers: Mapping[str, str], etag: str, modified_at: float) -> bool:
    """Is the file still the one `If-Range` names? Else the whole new one is to be sent."""
    condition = headers.get("if-range")
    if condition is None or condition.strip() == etag:
        return True
    return '"' not in condition and formatdate(modified_at, usegmt=True) == condition.strip()


def _not_after(date: str | None, modified_at: float) -> bool:
    if date is None:
        return False
    try:
        return int(modified_at) <= parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return False
