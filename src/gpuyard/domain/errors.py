"""Everything a caller can be told went wrong, each with one stable code.

    YardError
    ├── Invalid                invalid_request       a field is wrong; `field` names it
    │   ├── UnknownGpu         unknown_gpu           no such GPU type; the hint has the nearest names
    │   └── UnknownImage       unknown_image         no provider has this image
    ├── Unauthenticated        unauthenticated       no key, or not a good one
    ├── Forbidden              forbidden             a good key, but not for this
    ├── NotFound               not_found             it is not there, or it is not yours
    ├── NameTaken              name_taken            another live instance of the account has the name
    ├── IdempotencyConflict    idempotency_conflict  same Idempotency-Key, other request
    ├── IllegalMove            illegal_state         the lifecycle has no such arrow
    ├── NoCapacity             no_capacity           the asked GPUs are not free now
    ├── InsufficientBalance    insufficient_balance  the account cannot pay the hold
    ├── TooLarge               too_large             a body over the limit
    ├── RateLimited            rate_limited          slow down; `retry_after` says how much
    ├── ProviderUnavailable    provider_unavailable  a provider does not answer; asked again later
    ├── ProviderRefused        provider_refused      a provider answered no; not asked again
    ├── InstanceUnreachable    instance_unreachable  the instance's resident does not answer
    ├── StoreUnavailable       store_unavailable     the yard's database does not answer
    └── StorageFull            storage_full          the yard cannot write to its disk

A code never changes. A class exists because somebody acts differently on catching it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class YardError(Exception):
    """Base of what callers may see. Anything else that escapes is a bug and becomes a 500."""

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.hint = hint
        self.details = dict(details or {})
        self.retry_after = retry_after
        """Seconds after which asking again makes sense, where we know."""


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
    """`details` holds `unavailable` and `available`: lists of {"type", "asked", "free"}."""

    code = "no_capacity"


class InsufficientBalance(YardError):
    code = "insufficient_balance"


class TooLarge(YardError):
    code = "too_large"


class RateLimited(YardError):
    code = "rate_limited"


class ProviderUnavailable(YardError):
    """The provider may or may not have done what was asked: look again before asking again."""

    code = "provider_unavailable"


class ProviderRefused(YardError):
    """The provider understood and said no. `details["no_capacity"]` is true when waiting may help."""

    code = "provider_refused"


class InstanceUnreachable(YardError):
    code = "instance_unreachable"


class StoreUnavailable(YardError):
    """What was being written may or may not be: repeat it under the same Idempotency-Key."""

    code = "store_unavailable"


class StorageFull(YardError):
    code = "storage_full"


def error_classes() -> Iterator[type[YardError]]:
    """Every class of the tree, parents before children."""
    todo: list[type[YardError]] = [YardError]
    while todo:
        cls = todo.pop(0)
        yield cls
        todo.extend(cls.__subclasses__())
