"""Your own GPU cloud: instances, notebooks, endpoints and code storage on machines you own or rent.

Names are loaded when first used, so that `import gpuyard` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuyard._version import __version__

if TYPE_CHECKING:
    from gpuyard.sdk import AsyncClient, Client, remote

__all__ = ["AsyncClient", "Client", "__version__", "remote"]


def __getattr__(name: str) -> object:
    if name in __all__:
        import gpuyard.sdk

        return getattr(gpuyard.sdk, name)
    raise AttributeError(f"module 'gpuyard' has no attribute {name!r}")
