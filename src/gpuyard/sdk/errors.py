"""What a call can raise: one class per error code of the yard, and a few for what happens on this side.

YardError
├── Invalid                invalid_request       a field is wrong; `field` names it
│   ├── UnknownGpu         unknown_gpu
│   └── UnknownImage       unknown_image
├── Unauthenticated        unauthenticated
├── Forbidden              forbidden
├── NotFound               not_found             it is not there, or it is not yours
├── NameTaken              name_taken
├── IdempotencyConflict    idempotency_conflict
├── IllegalMove            illegal_state
├── NoCapacity             no_capacity           `.unavailable` and `.available` say which GPUs
├── InsufficientBalance    insufficient_balance
├── TooLarge               too_large
├── RateLimited            rate_limited          `.retry_after` seconds
├── ProviderUnavailable    provider_unavailable
├── ProviderRefused        provider_refused
├── InstanceUnreachable    instance_unreachable
├── StoreUnavailable       store_unavailable     the yard's database does not answer
├── StorageFull            storage_full
├── ServerFailed           internal              a bug of the yard; quote the request id
├── NotConfigured          not_configured        no yard to talk to is known here
├── ConnectionFailed       connection_failed     the yard does not answer
├── TimedOut               timed_out             it did not answer, or did not happen, in time
├── InstanceFailed         instance_failed       it will not get into the state that was waited for
├── ExecutionFailed        execution_failed      `.result` is how it went
└── RemoteError            remote_error          the function raised over there; `.remote_traceback`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpuyard.sdk.results import ExecutionFailed
from gpuyard.sdk.yard_error import YardError

__all__ = [
    "BY_CODE",
    "ConnectionFailed",
    "ExecutionFailed",
    "Forbidden",
    "IdempotencyConflict",
    "IllegalMove",
    "InstanceFailed",
    "InstanceUnreachable",
    "InsufficientBalance",
    "Invalid",
    "NameTaken",
    "NoCapacity",
    "NotConfigured",
    "NotFound",
    "ProviderRefused",
    "ProviderUnavailable",
    "RateLimited",
    "RemoteError",
    "ServerFailed",
    "StorageFull",
    "StoreUnavailable",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "UnknownGpu",
    "UnknownImage",
    "YardError",
]


class Invalid(YardError):
    code = "invalid_request"


class UnknownGpu(Invalid):
    code = "unknown_gpu"


class UnknownImage(Invalid):
    code = "unknown_image"


class Unauthenticated(YardError):
    code = "unauthenticated"


class Forbidden(YardError):
    code = "forbidden"


class NotFound(YardError):
    code = "not_found"


class NameTaken(YardError):
    code = "name_taken"


class IdempotencyConflict(YardError):
    code = "idempotency_conflict"


class IllegalMove(YardError):
    code = "illegal_state"


class NoCapacity(YardError):
    code = "no_capacity"

    @property
    def unavailable(self) -> Sequence[Mapping[str, Any]]:
        """What was asked for and is not free: `{"type", "asked", "free"}` each."""
        return list(self.details.get("unavailable", ()))

    @property
    def available(self) -> Sequence[Mapping[str, Any]]:
        return list(self.details.get("available", ()))


class InsufficientBalance(YardError):
    code = "insufficient_balance"


class TooLarge(YardError):
    code = "too_large"


class RateLimited(YardError):
    code = "rate_limited"


class ProviderUnavailable(YardError):
    code = "provider_unavailable"


class ProviderRefused(YardError):
    code = "provider_refused"


class InstanceUnreachable(YardError):
    code = "instance_unreachable"


class StoreUnavailable(YardError):
    code = "store_unavailable"


class StorageFull(YardError):
    code = "storage_full"


class ServerFailed(YardError):
    """The yard failed in a way it did not foresee, or answered something that is not of a yard."""

    code = "internal"

    def __str__(self) -> str:
        line = super().__str__()
        return f"{line} [request {self.request_id}]" if self.request_id else line


class NotConfigured(YardError):
    code = "not_configured"


class ConnectionFailed(YardError):
    code = "connection_failed"


class TimedOut(YardError):
    code = "timed_out"


class InstanceFailed(YardError):
    code = "instance_failed"


class RemoteError(YardError):
    """A function or a value failed inside the instance. The traceback is the one from over there."""

    code = "remote_error"

    def __init__(self, message: str, *, kind: str = "", remote_traceback: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        """The name of the exception's class."""
        self.remote_traceback = remote_traceback
        if remote_traceback:
            self.add_note(f"in the instance:\n{remote_traceback.rstrip()}")


def _classes(root: type[YardError]) -> Iterator[type[YardError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


BY_CODE: Mapping[str, type[YardError]] = {cls.code: cls for cls in _classes(YardError)}
"""Which class a code of the yard becomes. An unknown code (of a newer yard) becomes YardError itself."""
