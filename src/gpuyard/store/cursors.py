"""Cursors: where the next page begins, as opaque text that can stand in a URL."""

from __future__ import annotations

import base64
import binascii
import json

from gpuyard.domain.errors import Invalid

_INT64 = 2**63


def encode(list_name: str, *position: int | str) -> str:
    """`list_name` keeps a cursor of one list from being used in another."""
    return base64.urlsafe_b64encode(json.dumps([list_name, *position]).encode()).decode().rstrip("=")


def decode(list_name: str, cursor: str, *kinds: type[int] | type[str]) -> list[int | str]:
    """The position that `encode` was given. Raises Invalid for anything else."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise _unknown(cursor) from None
    if not isinstance(found, list) or len(found) != len(kinds) + 1 or found[0] != list_name:
        raise _unknown(cursor)
    position: list[int | str] = found[1:]
    if any(type(part) is not kind for part, kind in zip(position, kinds, strict=True)):
        raise _unknown(cursor)
    if any(isinstance(part, int) and not -_INT64 <= part < _INT64 for part in position):
        raise _unknown(cursor)
    if any(isinstance(part, str) and ("\x00" in part or not part.isascii()) for part in position):
        raise _unknown(cursor)
    return position


def _unknown(cursor: str) -> Invalid:
    shown = cursor if len(cursor) <= 40 else f"{cursor[:40]}…"
    return Invalid(
        f"{shown!r} is not a cursor of this list",
        field="cursor",
        hint="pass on the next_cursor of the page before, unchanged, or leave it out to begin at the first page",
    )
