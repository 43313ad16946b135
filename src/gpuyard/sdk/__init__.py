"""gpuyard's own API for Python: `Client` and `AsyncClient`, the same in two manners.

Names are loaded when first used, so that importing them costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuyard.sdk._async.client import AsyncClient
    from gpuyard.sdk._async.executions import AsyncExecutionFollower
    from gpuyard.sdk._async.instance import AsyncInstance
    from gpuyard.sdk._async.remote_function import AsyncRemoteCall, AsyncRemoteFunction
    from gpuyard.sdk._async.terminal import AsyncTerminal
    from gpuyard.sdk._sync.client import Client
    from gpuyard.sdk._sync.executions import ExecutionFollower
    from gpuyard.sdk._sync.instance import Instance
    from gpuyard.sdk._sync.remote import remote
    from gpuyard.sdk._sync.remote_function import RemoteCall, RemoteFunction
    from gpuyard.sdk._sync.terminal import Terminal
    from gpuyard.sdk.core import RetryPolicy
    from gpuyard.sdk.results import ExecutionResult
    from gpuyard.sdk.waiting import Progress

_HOMES = {
    "AsyncClient": "_async.client",
    "AsyncExecutionFollower": "_async.executions",
    "AsyncInstance": "_async.instance",
    "AsyncRemoteCall": "_async.remote_function",
    "AsyncRemoteFunction": "_async.remote_function",
    "AsyncTerminal": "_async.terminal",
    "Client": "_sync.client",
    "ExecutionFollower": "_sync.executions",
    "ExecutionResult": "results",
    "Instance": "_sync.instance",
    "Progress": "waiting",
    "RemoteCall": "_sync.remote_function",
    "RemoteFunction": "_sync.remote_function",
    "RetryPolicy": "core",
    "Terminal": "_sync.terminal",
    "remote": "_sync.remote",
}

__all__ = [
    "AsyncClient",
    "AsyncExecutionFollower",
    "AsyncInstance",
    "AsyncRemoteCall",
    "AsyncRemoteFunction",
    "AsyncTerminal",
    "Client",
    "ExecutionFollower",
    "ExecutionResult",
    "Instance",
    "Progress",
    "RemoteCall",
    "RemoteFunction",
    "RetryPolicy",
    "Terminal",
    "remote",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'gpuyard.sdk' has no attribute {name!r}")
    found: object = getattr(import_module(f"gpuyard.sdk.{home}"), name)
    globals()[name] = found
    return found
