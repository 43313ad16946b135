"""What can go wrong on the command line: one line, one hint, and an exit status from a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class ExitStatus(IntEnum):
    """The program's own statuses. `run`, `exec` and `shell` pass on the status of what they ran."""

    OK = 0
    UNWELL = 1
    USAGE = 64
    NOT_FOUND = 66
    UNAVAILABLE = 69
    BUG = 70
    LOST = 71
    CANNOT_WRITE = 73
    STORAGE_FULL = 74
    TEMPORARY = 75
    FORBIDDEN = 77
    CONFIGURATION = 78
    LIMIT = 79
    CONFLICT = 80
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


S = ExitStatus

MEANING: Mapping[ExitStatus, str] = {
    S.OK: "all is well",
    S.UNWELL: "`doctor` found something that must be mended",
    S.USAGE: "an option or argument is wrong, or names a GPU or image nobody has",
    S.NOT_FOUND: "a file, instance, key or account is not there",
    S.UNAVAILABLE: "no capacity now, or no provider or yard answers",
    S.BUG: "a bug of ours",
    S.LOST: "the instance ended by itself before the work was done",
    S.CANNOT_WRITE: "a file cannot be written here",
    S.STORAGE_FULL: "the yard cannot write to its disk",
    S.TEMPORARY: "try again: too many requests, a lost connection, an instance that does not answer",
    S.FORBIDDEN: "no key, a wrong key, or a key that may not do this",
    S.CONFIGURATION: "the set-up is wrong: settings, credentials, or missing libraries",
    S.LIMIT: "a limit was reached (cost, duration, idleness) or the balance does not pay for it",
    S.CONFLICT: "a name is taken, or the instance is in a state that does not allow it",
    S.HUNG_UP: "the terminal closed; what was ordered was given back",
    S.INTERRUPTED: "Ctrl-C; what was ordered was given back",
    S.TERMINATED: "SIGTERM; what was ordered was given back",
}

BY_CODE: Mapping[str, ExitStatus] = {
    "invalid_request": S.USAGE,
    "unknown_gpu": S.USAGE,
    "unknown_image": S.USAGE,
    "unauthenticated": S.FORBIDDEN,
    "forbidden": S.FORBIDDEN,
    "not_found": S.NOT_FOUND,
    "name_taken": S.CONFLICT,
    "idempotency_conflict": S.CONFLICT,
    "illegal_state": S.CONFLICT,
    "no_capacity": S.UNAVAILABLE,
    "insufficient_balance": S.LIMIT,
    "too_large": S.USAGE,
    "rate_limited": S.TEMPORARY,
    "provider_unavailable": S.UNAVAILABLE,
    "provider_refused": S.UNAVAILABLE,
    "instance_unreachable": S.TEMPORARY,
    "store_unavailable": S.TEMPORARY,
    "storage_full": S.STORAGE_FULL,
    "internal": S.BUG,
    # what the SDK finds out on this side
    "not_configured": S.CONFIGURATION,
    "connection_failed": S.UNAVAILABLE,
    "timed_out": S.TEMPORARY,
    "instance_failed": S.LOST,
    "execution_failed": S.LOST,
    "remote_error": S.LOST,
}


class CliError(Exception):
    """Raised wherever a command cannot go on. `main` renders it; nothing else prints errors."""

    def __init__(
        self,
        message: str,
        *,
        status: ExitStatus = ExitStatus.USAGE,
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint
        self.code = code or status.name.lower()


@dataclass(frozen=True)
class Failure:
    """An error as it is shown."""

    message: str
    status: ExitStatus
    code: str
    hint: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self.code, "message": self.message, "exit_status": int(self.status)}
        if self.hint:
            body["hint"] = self.hint
        return {"error": body | dict(self.extra)}


def failure_of(error: BaseException) -> Failure:
    """Recognise an error by what it carries, so that showing one imports neither the SDK nor Typer's insides."""
    if isinstance(error, CliError):
        return Failure(error.message, error.status, error.code, error.hint)
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return _of_the_yard(error, code)
    if callable(show := getattr(error, "format_message", None)):
        message = _lower_first(str(show()).rstrip("."))
        return Failure(message, S.USAGE, "usage", _usage_hint(error, message))
    if isinstance(error, OSError):
        return _of_the_system(error)
    name = type(error).__name__
    return Failure(
        f"{name}: {error}" if str(error) else name,
        S.BUG,
        "bug",
        "this is a bug of gpuyard: run it again with GPUYARD_DEBUG=1 and report the traceback",
    )


def debugging() -> bool:
    return os.environ.get("GPUYARD_DEBUG", "") not in ("", "0")


def _of_the_yard(error: BaseException, code: str) -> Failure:
    extra = {
        key: value
        for key in ("field", "details", "retry_after", "request_id")
        if (value := getattr(error, key, None)) not in (None, {}, "")
    }
    message = str(getattr(error, "message", "") or error)
    return Failure(message, BY_CODE.get(code, S.BUG), code, getattr(error, "hint", None) or HINTS.get(code), extra)


HINTS: Mapping[str, str] = {
    "invalid_request": "the command's --help tells what is possible",
    "unknown_gpu": "`gpuyard offers` lists what there is",
    "unknown_image": "leave out --image for the usual one",
    "idempotency_conflict": "run the command again",
    "too_large": "send less at once; files go with `gpuyard instances cp`",
    "rate_limited": "wait a moment and try again",
    "provider_refused": "pick another offer of `gpuyard offers`, or ask the yard's owner",
    "internal": "the yard's log tells more: give its owner the request id",
    "timed_out": "try again; `gpuyard doctor` checks the connection",
    "instance_failed": "`gpuyard instances why NAME` tells what is known",
    "execution_failed": "`gpuyard instances logs NAME` shows what it wrote",
    "remote_error": "`gpuyard instances logs NAME` shows what it wrote",
    "unauthenticated": "`gpuyard login URL` stores a key; `gpuyard doctor` tells which one is used",
    "forbidden": "ask the account's owner for a key that may do this: `gpuyard keys create --scope …`",
    "not_found": "check the name; `gpuyard instances ls` lists your instances",
    "no_capacity": "leave out --no-wait to wait in line, or pick another type of `gpuyard offers`",
    "insufficient_balance": "`gpuyard cost` shows the balance; the yard's owner adds to it with `gpuyard accounts credit`",
    "name_taken": "choose another --name, or delete the old one: `gpuyard instances rm NAME`",
    "illegal_state": "`gpuyard instances why NAME` tells what it is doing",
    "instance_unreachable": "try again; `gpuyard instances why NAME` tells what is known",
    "not_configured": "`gpuyard up --detach` starts a yard here; `gpuyard login URL` uses another",
    "connection_failed": "`gpuyard doctor` checks the connection; `gpuyard up --detach` starts a yard here",
    "provider_unavailable": "try again in a while; `gpuyard status` shows the providers",
    "store_unavailable": "try again in a while; whoever runs the yard checks its PostgreSQL",
    "storage_full": "free space in the yard's data directory",
}
"""Said when the yard itself gave no hint."""


def _of_the_system(error: OSError) -> Failure:
    name = f"{error.filename}: " if error.filename else ""
    text = f"{name}{(error.strerror or str(error)).lower()}"
    if isinstance(error, FileNotFoundError):
        return Failure(text, S.NOT_FOUND, "not_found", "check the path")
    if isinstance(error, ConnectionError):
        return Failure(text, S.TEMPORARY, "connection", "try again; `gpuyard doctor` checks the connection")
    return Failure(text, S.CANNOT_WRITE, "io", "check that the place exists, may be written and has room")


def _usage_hint(error: BaseException, message: str) -> str:
    path = getattr(getattr(error, "ctx", None), "command_path", None) or "gpuyard"
    if path.endswith(" run") and message.startswith("no such option"):
        return "the script's own options go after `--`: gpuyard run SCRIPT --gpu TYPE -- --epochs 5"
    return f"`{path} --help` shows what there is"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
