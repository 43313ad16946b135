"""`/balance`, `/ledger` and `/usage`: what an account has, owes and used."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from gpuyard.api.asking import Asked, Cursor, PageSize
from gpuyard.api.native import views
from gpuyard.services import money
from gpuyard.wire.base import Instant, Page
from gpuyard.wire.yard import BalanceView, InstanceCost, LedgerEntryView, UsageView

router = APIRouter(tags=["money"])

_USUAL_SPAN = timedelta(days=30)


@router.get("/balance")
async def balance(ask: Asked) -> BalanceView:
    """What the account has, what is held of it, and what runs per hour now."""
    return views.balance(ask, await money.balance(ask.yard, ask.for_account().caller))


@router.get("/ledger")
async def ledger(ask: Asked, limit: PageSize = 100, cursor: Cursor = None) -> Page[LedgerEntryView]:
    """Every amount ever charged or credited, newest first."""
    found = await money.entries(ask.yard, ask.for_account().caller, limit=limit, cursor=cursor)
    return Page[LedgerEntryView](items=[views.ledger_entry(it) for it in found.items], next_cursor=found.next_cursor)


@router.get("/usage")
async def usage(
    ask: Asked,
    start: Annotated[Instant | None, Query(description="From here; thirty days before `end` unless given.")] = None,
    end: Annotated[Instant | None, Query(description="Up to here; now unless given.")] = None,
) -> UsageView:
    """What was used and what it cost, by instance, dearest first."""
    until = end or ask.yard.clock.now()
    since = start or until - _USUAL_SPAN
    used = await money.usage(ask.yard, ask.caller, since, until)
    return UsageView(
        start=since,
        end=until,
        seconds=sum(it.seconds for it in used),
        cost_micro=sum(it.cost_micro for it in used),
        currency=ask.yard.currency,
        instances=[
            InstanceCost(instance_id=it.instance_id, name=it.name, seconds=it.seconds, cost_micro=it.cost_micro)
            for it in used
        ],
    )
