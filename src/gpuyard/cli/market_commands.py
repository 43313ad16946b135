"""What there is to have, and what it costs: `offers`, `cost`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard.cli.amounts import show_gpus, show_money, show_seconds
from gpuyard.cli.choices import MaxPriceOption, complete_gpu
from gpuyard.cli.screen import Column
from gpuyard.cli.session import Session

if TYPE_CHECKING:
    from gpuyard.sdk import Instance
    from gpuyard.wire.instances import InstanceUsage
    from gpuyard.wire.yard import InstanceCost, OfferView

ACTIVE = ("waiting", "requested", "provisioning", "running", "stopping", "starting", "deleting")


def offers(
    session: Session,
    gpu: Annotated[
        str | None, typer.Option("--gpu", "-g", metavar="TYPE", help="Only this type.", autocompletion=complete_gpu)
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Only with so many free.")] = None,
    max_price: MaxPriceOption = None,
    provider: Annotated[str | None, typer.Option("--provider", metavar="NAME", help="Only there.")] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="NAME", help="Only there.")] = None,
) -> None:
    """GPU types, how many are free, and what they cost."""
    with session.client() as client:
        found = client.offers(gpu, count, max_price_per_hour=max_price, provider=provider, region=region)
    columns: list[Column[OfferView]] = [
        Column("GPU", lambda o: o.gpu_type),
        Column("NAME", lambda o: o.gpu_name),
        Column("MEMORY", lambda o: f"{o.gpu_memory_gb} GB" if o.gpu_memory_gb else "–", right=True),
        Column("FREE", lambda o: f"{o.available}/{o.total}" if o.total is not None else str(o.available), right=True),
        Column("PER HOUR", lambda o: show_money(o.price_per_hour_micro, o.currency), right=True, narrow=True),
        Column("PROVIDER", lambda o: f"{o.provider}/{o.region}" if o.region != o.provider else o.provider),
        Column("KIND", lambda o: "simulated" if o.simulated else "real", narrow=True),
    ]
    session.screen.table(columns, found, empty="no offers; `gpuyard status` shows the providers")


def cost(session: Session) -> None:
    """What costs now, and what was spent this month."""
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with session.client() as client:
        active = [(instance, instance.usage()) for instance in client.instances.list(state=ACTIVE)]
        balance = client.balance()
        tomorrow = today + timedelta(days=1)
        day = client.usage(start=today, end=tomorrow)
        month = client.usage(start=today.replace(day=1), end=tomorrow)
    value = {
        "active": [_active_value(instance, usage) for instance, usage in active],
        "running_per_hour_micro": balance.running_per_hour_micro,
        "today": day,
        "month": month,
        "balance": balance,
    }
    if session.options.as_json:
        session.screen.result(value)
        return
    running: list[Column[tuple[Instance, InstanceUsage]]] = [
        Column("ACTIVE", lambda e: e[0].name),
        Column("STATE", lambda e: str(e[0].state), narrow=True),
        Column("GPUS", lambda e: show_gpus(e[0].gpus)),
        Column("PER HOUR", lambda e: show_money(e[0].price_per_hour_micro, e[1].currency), right=True, narrow=True),
        Column("RAN", lambda e: show_seconds(e[1].seconds), right=True, narrow=True),
        Column("COST", lambda e: show_money(e[1].cost_micro, e[1].currency), right=True, narrow=True),
    ]
    session.screen.table(running, active, empty="nothing is active")
    spent: list[Column[InstanceCost]] = [
        Column("THIS MONTH", lambda c: c.name),
        Column("RAN", lambda c: show_seconds(c.seconds), right=True, narrow=True),
        Column("COST", lambda c: show_money(c.cost_micro, month.currency), right=True, narrow=True),
    ]
    session.screen.line("")
    session.screen.table(spent, month.instances, empty="nothing was used this month")
    session.screen.line("")
    session.screen.facts(
        [
            ("per hour now", show_money(balance.running_per_hour_micro, balance.currency)),
            ("today", show_money(day.cost_micro, day.currency)),
            ("this month", show_money(month.cost_micro, month.currency)),
            ("balance", show_money(balance.balance_micro, balance.currency)),
            ("held for what runs", show_money(balance.held_micro, balance.currency)),
        ],
        value,
    )


def _active_value(instance: Instance, usage: InstanceUsage) -> dict[str, Any]:
    return {
        "id": instance.id,
        "name": instance.name,
        "state": str(instance.state),
        "price_per_hour_micro": instance.price_per_hour_micro,
        "seconds": usage.seconds,
        "cost_micro": usage.cost_micro,
        "currency": usage.currency,
    }
