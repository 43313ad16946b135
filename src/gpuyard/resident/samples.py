"""The resident's routes for samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from gpuyard.resident.core import Resident


def routes(resident: Resident) -> list[BaseRoute]:
    return []
