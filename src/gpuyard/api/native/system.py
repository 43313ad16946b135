"""`/healthz`, `/readyz`, `/metrics` and the description of the API: for those who watch over a yard."""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Request, Response

from gpuyard._version import __version__
from gpuyard.api.admission import Admission
from gpuyard.api.errors import error_response, request_id_of
from gpuyard.domain.accounts import Scope
from gpuyard.services.yard import Yard

router = APIRouter(tags=["system"])


@router.get("/healthz")
async def healthz() -> dict[str, object]:
    """The process is there and answers."""
    return {"ok": True, "version": __version__}


@router.get("/readyz", response_model=dict[str, object])
async def readyz(request: Request) -> dict[str, object] | Response:
    """The database answers and at least one provider does: it makes sense to send work here."""
    yard: Yard = request.app.state.yard
    try:
        await yard.store.read(lambda tx: tx.events.last_seq())
    except Exception as error:
        return _not_ready(request, f"the database does not answer: {error}")
    troubles = {name: yard.offers.word(name).problem for name in yard.providers}
    if all(troubles.values()):
        name, problem = next(iter(troubles.items()))
        return _not_ready(request, f"no provider answers; {name}: {problem}")
    return {"ok": True, "providers": {name: problem or "ok" for name, problem in troubles.items()}}


def _not_ready(request: Request, why: str) -> Response:
    body = {"code": "not_ready", "message": why, "hint": "the server's log says more"}
    return error_response(503, body, request_id=request_id_of(request), headers={"retry-after": "1"})


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """For Prometheus. Without a key only from this machine; else with a key of the yard's operator."""
    if not _is_local(request):
        admission: Admission = request.app.state.admission
        (await admission.caller(request.scope)).must(Scope.YARD)
    text: bytes = await request.app.state.metrics()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _is_local(request: Request) -> bool:
    """A reverse proxy on this machine is not the asker: what it passes on is not local."""
    if any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        return False
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
