"""`/offers`, `/gpus` and `/providers`: what there is to rent, and from whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from gpuyard.api.asking import Asked
from gpuyard.api.native import views
from gpuyard.services import offers, providers
from gpuyard.services.offers import OfferFilter
from gpuyard.wire.base import Page
from gpuyard.wire.yard import GpuKind, OfferView, ProviderView

router = APIRouter(tags=["offers"])


@router.get("/offers")
async def find(
    ask: Asked,
    gpu: Annotated[str | None, Query(description="A slug, name or alias of the catalogue; `cpu` for no GPU.")] = None,
    count: Annotated[int | None, Query(ge=1, le=1024, description="At least so many free now.")] = None,
    max_price_per_hour_micro: Annotated[int | None, Query(ge=0, le=10**15, description="For one GPU.")] = None,
    provider: str | None = None,
    region: str | None = None,
) -> Page[OfferView]:
    """What can be had now, cheapest first. A look, not a promise."""
    wanted = OfferFilter(gpu, count, max_price_per_hour_micro, provider, region)
    return Page[OfferView](items=[views.offer(ask, it) for it in await offers.find(ask.yard, ask.caller, wanted)])


@router.get("/gpus")
async def gpus(ask: Asked) -> Page[GpuKind]:
    """Every kind of GPU the catalogue knows, whether or not anybody offers it."""
    return Page[GpuKind](
        items=[
            GpuKind(
                type=gpu.slug,
                name=gpu.name,
                memory_gb=gpu.memory_gb,
                vendor=gpu.vendor,
                architecture=gpu.architecture,
                compute_capability=gpu.compute_capability,
                aliases=list(gpu.aliases),
            )
            for gpu in ask.yard.catalogue.gpus.values()
        ]
    )


@router.get("/providers")
async def all_providers(ask: Asked) -> Page[ProviderView]:
    """Who rents to this yard, and what is wrong with them."""
    return Page[ProviderView](
        items=[
            ProviderView(
                name=it.name,
                healthy=it.problem is None,
                problem=it.problem,
                warnings=list(it.warnings),
                seen_at=it.seen_at,
                capabilities=list(it.capabilities),
                gpus_total=it.gpus_total,
                gpus_in_use=it.gpus_in_use,
            )
            for it in await providers.all_providers(ask.yard, ask.caller)
        ]
    )
