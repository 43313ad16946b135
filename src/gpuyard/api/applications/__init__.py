"""`/i/{short_id}/…`: the applications of instances, opened in a browser by those who may."""

from __future__ import annotations

from gpuyard.api.applications.gate import Applications

__all__ = ["Applications"]
