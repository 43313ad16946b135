"""What goes wrong on the way to a resident, and what a resident refuses, as the yard's own errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from gpuyard.domain.errors import InstanceUnreachable, Unauthenticated, YardError, error_classes
from gpuyard.domain.ids import InstanceId

BY_CODE: Mapping[str, type[YardError]] = {cls.code: cls for cls in reversed(list(error_classes()))}
"""The first class of the tree wins a code, so a parent stands for children that share its own."""

_OUR_FAULT = frozenset({Unauthenticated.code, YardError.code})
"""A resident that does not know us, or has a bug, is not something the caller can mend."""

_RETRY_AFTER = 1.0


@contextmanager
def reaching(instance_id: InstanceId) -> Iterator[None]:
    """Turns every failure of the connection into InstanceUnreachable."""
    try:
        yield
    except (httpx.TransportError, WebSocketException, OSError) as error:
        raise unreachable(instance_id, error) from error


def unreachable(instance_id: InstanceId, error: Exception) -> InstanceUnreachable:
    what = str(error) or type(error).__name__
    return InstanceUnreachable(
        f"instance {instance_id} does not answer: {what}",
        hint="it may be starting, restarting or cut off; ask again",
        retry_after=_RETRY_AFTER,
    )


def refusal(instance_id: InstanceId, status: int, body: bytes) -> YardError:
    """The error a resident answered with; one that is not the caller's doing becomes InstanceUnreachable."""
    told = _error_of(body)
    code = told.get("code")
    cls = BY_CODE.get(code) if isinstance(code, str) else None
    if cls is None or cls.code in _OUR_FAULT:
        return unreachable(instance_id, RuntimeError(f"its resident answered {status} ({told.get('message', code)})"))
    details = told.get("details")
    return cls(
        str(told.get("message", f"the instance answered {status}")),
        field=told.get("field"),
        hint=told.get("hint"),
        details=details if isinstance(details, dict) else None,
    )


def _error_of(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return {}
    return told if isinstance(told, dict) else {}
