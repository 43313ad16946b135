"""Talks to the residents inside instances, over Unix sockets or TCP: the adapter behind `ports.residents`."""

from __future__ import annotations

from gpuyard.reach.residents import HttpResidents

__all__ = ["HttpResidents"]
