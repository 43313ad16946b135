"""Sends parcels into an instance and opens what comes back."""

from __future__ import annotations

from typing import Any

from gpuyard.sdk import shipping
from gpuyard.sdk._async.workplace import AsyncWorkplace
from gpuyard.sdk.errors import YardError
from gpuyard.sdk.results import ExecutionResult, OnText


async def exchange(
    instance: AsyncWorkplace,
    parcel: shipping.Parcel,
    what: str,
    *,
    kernel: str,
    timeout: float | None = None,
    on_stdout: OnText | None = None,
    on_stderr: OnText | None = None,
) -> Any:
    """Run the parcel in a kernel and open its outcome. Raises RemoteError, ExecutionFailed."""
    await send(instance, parcel)
    try:
        result = await instance.run(
            parcel.code, kernel=kernel, timeout=timeout, on_stdout=on_stdout, on_stderr=on_stderr
        )
        return await outcome(instance, parcel, result, what)
    finally:
        await forget(instance, parcel.value_path)


async def send(instance: AsyncWorkplace, parcel: shipping.Parcel) -> None:
    if parcel.value_path is not None:
        await instance.files.write(parcel.value_path, parcel.value, mode="600")


async def outcome(instance: AsyncWorkplace, parcel: shipping.Parcel, result: ExecutionResult, what: str) -> Any:
    result.raise_for_status()
    content = shipping.shown(result.displays)
    if content is None:
        content = await instance.files.read(parcel.outcome_path)
        await forget(instance, parcel.outcome_path)
    return shipping.unpacked(content, what)


async def forget(instance: AsyncWorkplace, path: str | None) -> None:
    """Remove a file of ours; the instance removes what is left of them with itself."""
    if path is None:
        return
    try:
        await instance.files.delete(path)
    except YardError:
        return
