"""The API put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI

from gpuyard._version import __version__
from gpuyard.api import errors
from gpuyard.api.admission import Admission, Passed, Traffic
from gpuyard.api.applications import Applications
from gpuyard.api.limits import BodySizes, Buckets
from gpuyard.api.native import accounts, events, executions, inside, instances, keys, money, offers, system
from gpuyard.api.openapi import describe
from gpuyard.api.streams import OpenStreams
from gpuyard.services.yard import Yard

_NOUNS = (accounts, keys, offers, instances, executions, inside, money, events)


def build(
    yard: Yard,
    *,
    rate: Buckets,
    failures: Buckets,
    logins: Buckets,
    sizes: BodySizes,
    streams: OpenStreams,
    traffic: Traffic,
    noted: Callable[[Passed], None],
    metrics: Callable[[], Awaitable[bytes]],
) -> Admission:
    """The whole application. `metrics` answers what Prometheus reads; `streams.end()` ends what never ends by itself."""
    app = FastAPI(
        title="gpuyard",
        version=__version__,
        openapi_url="/yard/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    ours = APIRouter(prefix="/yard/v1")
    for noun in _NOUNS:
        ours.include_router(noun.router)
    app.include_router(ours)
    app.include_router(system.router)
    errors.install(app)
    describe(app)
    admission = Admission(app, yard, rate=rate, failures=failures, sizes=sizes, traffic=traffic, noted=noted)
    app.mount("/i", Applications(yard, admission.caller, logins))
    state: dict[str, Any] = {"yard": yard, "streams": streams, "metrics": metrics, "admission": admission}
    for name, value in state.items():
        setattr(app.state, name, value)
    return admission
