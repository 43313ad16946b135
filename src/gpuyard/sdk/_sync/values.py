# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Sends parcels into an instance and opens what comes back."""

from __future__ import annotations

from typing import Any

from gpuyard.sdk import shipping
from gpuyard.sdk._sync.workplace import Workplace
from gpuyard.sdk.errors import YardError
from gpuyard.sdk.results import ExecutionResult, OnText


def exchange(
    instance: Workplace,
    parcel: shipping.Parcel,
    what: str,
    *,
    kernel: str,
    timeout: float | None = None,
    on_stdout: OnText | None = None,
    on_stderr: OnText | None = None,
) -> Any:
    """Run the parcel in a kernel and open its outcome. Raises RemoteError, ExecutionFailed."""
    send(instance, parcel)
    try:
        result = instance.run(parcel.code, kernel=kernel, timeout=timeout, on_stdout=on_stdout, on_stderr=on_stderr)
        return outcome(instance, parcel, result, what)
    finally:
        forget(instance, parcel.value_path)


def send(instance: Workplace, parcel: shipping.Parcel) -> None:
    if parcel.value_path is not None:
        instance.files.write(parcel.value_path, parcel.value, mode="600")


def outcome(instance: Workplace, parcel: shipping.Parcel, result: ExecutionResult, what: str) -> Any:
    result.raise_for_status()
    content = shipping.shown(result.displays)
    if content is None:
        content = instance.files.read(parcel.outcome_path)
        forget(instance, parcel.outcome_path)
    return shipping.unpacked(content, what)


def forget(instance: Workplace, path: str | None) -> None:
    """Remove a file of ours; the instance removes what is left of them with itself."""
    if path is None:
        return
    try:
        instance.files.delete(path)
    except YardError:
        return
