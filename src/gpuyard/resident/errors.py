"""What the resident refuses, with the HTTP status and the stable code of docs/resident.md."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse


class Refusal(Exception):
    """Answered to the caller as `{"error": {…}}`. Whatever else escapes a route is a bug and becomes a 500."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.hint = hint
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        optional = {"field": self.field, "hint": self.hint, "details": self.details}
        error = {"code": self.code, "message": self.message, **{k: v for k, v in optional.items() if v}}
        return JSONResponse({"error": error}, status_code=self.status, headers=self.headers)


def malformed(message: str, *, field: str | None = None) -> Refusal:
    return Refusal(400, "invalid_request", message, field=field)


def not_found(message: str) -> Refusal:
    return Refusal(404, "not_found", message)


def wrong_state(message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None) -> Refusal:
    return Refusal(409, "illegal_state", message, hint=hint, details=details)


def wrong_field(field: str, message: str, *, hint: str | None = None) -> Refusal:
    return Refusal(422, "invalid_request", message, field=field, hint=hint)


def of_disk(error: OSError, *, what: str) -> Refusal | None:
    """The refusal an operating-system error amounts to; None when it is no fault of the caller or the disk."""
    row = _DISK.get(error.errno or 0)
    if row is None:
        return None
    status, code, text = row
    return Refusal(status, code, f"{what}: {text}", field="path" if status == 422 else None)


_DISK: dict[int, tuple[int, str, str]] = {
    errno.ENOENT: (404, "not_found", "no such file or directory"),
    errno.ENOSPC: (507, "storage_full", "the instance's disk is full; delete something or ask for a larger disk"),
    errno.EDQUOT: (
        507,
        "storage_full",
        "the instance's disk quota is used up; delete something or ask for a larger disk",
    ),
    errno.EFBIG: (507, "storage_full", "the file is larger than the instance's limit for one file"),
    errno.EROFS: (409, "illegal_state", "this part of the instance's disk is read-only"),
    errno.EACCES: (422, "invalid_request", "the instance's user may not do this here"),
    errno.EPERM: (422, "invalid_request", "the instance's user may not do this here"),
    errno.EISDIR: (409, "illegal_state", "it is a directory"),
    errno.ENOTDIR: (409, "illegal_state", "a part of the path is a file, not a directory"),
    errno.ENOTEMPTY: (
        409,
        "illegal_state",
        "the directory is not empty; `?recursive=true` deletes it with its content",
    ),
    errno.EEXIST: (409, "illegal_state", "it exists already"),
    errno.ENAMETOOLONG: (422, "invalid_request", "a name in the path is too long"),
    errno.ELOOP: (
        422,
        "invalid_request",
        "symbolic links go round in a circle, or one stands where none may be followed",
    ),
    errno.ETXTBSY: (409, "illegal_state", "the program is running"),
}
