"""Routes still empty."""

from __future__ import annotations

from starlette.routing import BaseRoute

from gpuyard.resident.core import Resident


def routes(resident: Resident) -> list[BaseRoute]:
    return []
