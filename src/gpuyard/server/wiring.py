"""Puts a yard together from its settings: store, journals, catalogue, providers, residents."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import YardError
from gpuyard.domain.gpus import GpuCatalogue
from gpuyard.ports.clock import SystemClock
from gpuyard.ports.provider import Provider
from gpuyard.providers import registry
from gpuyard.reach import HttpResidents
from gpuyard.server import place
from gpuyard.server.exits import CannotStart, Exit
from gpuyard.server.settings import Settings
from gpuyard.services.secrets import YardSecret
from gpuyard.services.yard import Yard
from gpuyard.store import CannotOpen, DiskJournals, SqlStore, open_store

log = logging.getLogger("gpuyard.server")

NO_SIMULATION = "none"


@asynccontextmanager
async def open_yard(settings: Settings) -> AsyncIterator[Yard]:
    """A yard whose providers are open; on the way out they are closed and their instances run on. Raises CannotStart."""
    catalogue = _catalogue(settings)
    providers = _providers(settings, catalogue)
    store = _store(settings)
    residents = HttpResidents()
    opened: list[Provider] = []
    try:
        for name, provider in providers.items():
            try:
                await provider.open()
            except YardError as error:
                raise CannotStart(
                    Exit.PROVIDER,
                    f"the provider {name!r} cannot be opened: {error.message}",
                    error.hint or "see its settings",
                ) from error
            opened.append(provider)
            for warning in getattr(provider, "warnings", ()):
                log.warning("%s: %s", name, warning)
        yield Yard(
            store=store,
            clock=SystemClock(),
            catalogue=catalogue,
            providers=providers,
            residents=residents,
            journals=DiskJournals(settings.data_directory / "journals"),
            secret=_secret(settings),
            currency=settings.currency,
        )
    finally:
        for provider in reversed(opened):
            await provider.close()
        await residents.close()
        await store.close()


def _catalogue(settings: Settings) -> GpuCatalogue:
    try:
        return load_catalogue(settings.catalogue.expanduser() if settings.catalogue else None)
    except YardError as error:
        raise wrong_setting(error) from error


def _store(settings: Settings) -> SqlStore:
    try:
        return open_store(settings.database_url)
    except CannotOpen as error:
        raise CannotStart(Exit.DATABASE, str(error), "") from error


def _secret(settings: Settings) -> YardSecret:
    if settings.secret is not None:
        return YardSecret(settings.secret.get_secret_value().encode())
    return YardSecret(place.yard_secret(settings.data_directory))


def _providers(settings: Settings, catalogue: GpuCatalogue) -> dict[str, Provider]:
    providers: dict[str, Provider] = {}
    for name, own in settings.providers.items():
        try:
            providers[name] = registry.load(name, {**_shared(settings, name), **own}, catalogue)
        except YardError as error:
            raise wrong_setting(error) from error
    return providers


def _shared(settings: Settings, name: str) -> Mapping[str, Any]:
    """What the yard's own settings say to this provider, where the provider's section does not say otherwise."""
    prices = {"prices": settings.prices} if settings.prices else {}
    if name == "fake":
        return prices
    if name != "local":
        return {}
    simulate: dict[str, Any] = {}
    if settings.simulate is not None:
        simulate = {"simulate": {} if settings.simulate == NO_SIMULATION else settings.simulate}
    warm = {} if settings.warm is None else {"warm_pool": settings.warm}
    data_dir = settings.data_directory / "instances"
    return {"data_dir": str(data_dir), "sandbox": settings.sandbox, **prices, **simulate, **warm}


def wrong_setting(error: YardError) -> CannotStart:
    return CannotStart(Exit.SETTINGS, f"settings: {error.message}", error.hint or "correct it or leave it out")
