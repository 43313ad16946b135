"""Novita's GPU API for Python: `NovitaClient` and `AsyncNovitaClient`, for Novita's cloud and for whatever speaks the same.

A drop-in for the published SDK: the names, methods and errors are the same. `gpuyard.vendors.novita.generated.models` has
every model under the name programs know it by. Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuyard._version import __version__
    from gpuyard.vendors.novita._async.client import AsyncNovitaClient
    from gpuyard.vendors.novita._sync.client import NovitaClient
    from gpuyard.vendors.novita.core import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, RateLimit, RetryPolicy
    from gpuyard.vendors.novita.errors import (
        APIError,
        AuthenticationError,
        BadRequestError,
        ConnectionFailedError,
        ForbiddenError,
        MissingReferenceError,
        NotFoundError,
        NovitaError,
        RateLimitError,
        TimeoutError,  # noqa: A004 - the name programs written for this API catch
        UnexpectedAnswerError,
    )
    from gpuyard.vendors.novita.wire.catalogue import BillingMode, GPUProduct, ListGPUProductsResponse
    from gpuyard.vendors.novita.wire.instances import (
        CreateInstanceRequest,
        CreateInstanceResponse,
        EditInstanceRequest,
        InstanceInfo,
        Kind,
        ListInstancesResponse,
        Port,
        SaveImageRequest,
        UpgradeInstanceRequest,
    )
    from gpuyard.vendors.novita.wire.instances import PortType as Type
    from gpuyard.vendors.novita.wire.simple import (
        ActionResponse,
        Instance,
        InstanceStatus,
        InstanceType,
        PricingResponse,
        UpdateInstanceRequest,
    )

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_TIMEOUT",
    "APIError",
    "ActionResponse",
    "AsyncNovitaClient",
    "AuthenticationError",
    "BadRequestError",
    "BillingMode",
    "ConnectionFailedError",
    "CreateInstanceRequest",
    "CreateInstanceResponse",
    "EditInstanceRequest",
    "ForbiddenError",
    "GPUProduct",
    "Instance",
    "InstanceInfo",
    "InstanceStatus",
    "InstanceType",
    "Kind",
    "ListGPUProductsResponse",
    "ListInstancesResponse",
    "MissingReferenceError",
    "NotFoundError",
    "NovitaClient",
    "NovitaError",
    "Port",
    "PricingResponse",
    "RateLimit",
    "RateLimitError",
    "RetryPolicy",
    "SaveImageRequest",
    "TimeoutError",
    "Type",
    "UnexpectedAnswerError",
    "UpdateInstanceRequest",
    "UpgradeInstanceRequest",
    "__version__",
]

_HERE = "gpuyard.vendors.novita"
_HOMES = {
    "__version__": "gpuyard._version",
    "AsyncNovitaClient": f"{_HERE}._async.client",
    "NovitaClient": f"{_HERE}._sync.client",
    **dict.fromkeys(("DEFAULT_BASE_URL", "DEFAULT_TIMEOUT", "RateLimit", "RetryPolicy"), f"{_HERE}.core"),
    **dict.fromkeys(("BillingMode", "GPUProduct", "ListGPUProductsResponse"), f"{_HERE}.wire.catalogue"),
    **dict.fromkeys(
        ("ActionResponse", "Instance", "InstanceStatus", "InstanceType", "PricingResponse", "UpdateInstanceRequest"),
        f"{_HERE}.wire.simple",
    ),
    **dict.fromkeys((name for name in __all__ if name.endswith("Error")), f"{_HERE}.errors"),
}
_RENAMED = {"Type": "PortType"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {_HERE!r} has no attribute {name!r}")
    home = import_module(_HOMES.get(name, f"{_HERE}.wire.instances"))
    found: object = getattr(home, _RENAMED.get(name, name))
    globals()[name] = found
    return found
