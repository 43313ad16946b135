"""The root of the SDK's errors. `errors.py` has the tree; what carries its own error (a result) needs the root alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class YardError(Exception):
    """Base of everything the SDK raises on purpose. `str()` is one line with the hint."""

    code: str = "internal"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.details = dict(details or {})
        self.retry_after = retry_after
        self.request_id = request_id
        self.status = status
        """The HTTP status it came with; None for what went wrong on this side."""

    def __str__(self) -> str:
        text = f"{self.message} ({self.hint})" if self.hint else self.message
        return " ".join(text.split())
