"""`gpuyard instances`: order them, look at them, stop, start and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard.cli.amounts import parse_duration, parse_gpus, parse_pairs, show_age, show_gpus, show_money, show_seconds
from gpuyard.cli.choices import (
    DiskOption,
    EnvOption,
    GpuOption,
    ImageOption,
    InstanceRef,
    InstanceRefs,
    LabelOption,
    MaxCostOption,
    MaxDurationOption,
    MaxPriceOption,
    NameOption,
    ProviderOption,
    RamOption,
    VcpusOption,
)
from gpuyard.cli.failures import ExitStatus, failure_of
from gpuyard.cli.progress import WaitingWords
from gpuyard.cli.screen import Column
from gpuyard.cli.session import Session

if TYPE_CHECKING:
    from gpuyard import Client
    from gpuyard.sdk import Instance


def create(
    session: Session,
    gpu: GpuOption = None,
    name: NameOption = None,
    vcpus: VcpusOption = 2,
    ram: RamOption = 4,
    disk: DiskOption = 20,
    image: ImageOption = "python",
    env: EnvOption = None,
    label: LabelOption = None,
    port: Annotated[list[int] | None, typer.Option("--port", help="A port of its own to open; repeatable.")] = None,
    max_cost: MaxCostOption = None,
    max_duration: MaxDurationOption = None,
    max_idle: Annotated[
        str | None, typer.Option("--max-idle", metavar="TIME", help="Stop it when idle for so long.")
    ] = None,
    max_price: MaxPriceOption = None,
    provider: ProviderOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait in line, and until it runs.")] = True,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Take what there is of the GPUs.")] = False,
) -> None:
    """Order an instance. It costs until it is stopped or deleted."""
    order: dict[str, Any] = {
        "gpus": parse_gpus(gpu or ()),
        "name": name,
        "vcpus": vcpus,
        "ram_gb": ram,
        "disk_gb": disk,
        "image": image,
        "env": parse_pairs(env or (), "--env"),
        "labels": parse_pairs(label or (), "--label"),
        "ports": port,
        "max_cost": max_cost,
        "max_duration": parse_duration(max_duration, "--max-duration"),
        "max_idle": parse_duration(max_idle, "--max-idle"),
        "max_price_per_hour": max_price,
        "providers": provider,
        "wait": wait,
        "allow_partial": allow_partial,
    }
    with session.client() as client:
        instance = client.instances.create(**order)
        if wait:
            _until_running(session, instance, f"{instance.name}: ordered {show_gpus(instance.gpus)}")
        session.screen.result(instance.view, f"{instance.name} {instance.state}")


def ls(
    session: Session,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only in this state; repeatable.")] = None,
    label: LabelOption = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Deleted ones, too.")] = False,
) -> None:
    """Your instances, the newest first."""
    with session.client() as client:
        chosen = state or ("all" if everything else None)
        found = list(client.instances.list(state=chosen, labels=parse_pairs(label or (), "--label")))
    columns: list[Column[Instance]] = [
        Column("NAME", lambda i: i.name),
        Column("ID", lambda i: i.short_id, narrow=True),
        Column("STATE", _state, narrow=True),
        Column("GPUS", lambda i: show_gpus(i.view.gpus) + (" (simulated)" if i.view.simulated else "")),
        Column("PROVIDER", lambda i: i.view.provider or "–"),
        Column("PER HOUR", lambda i: show_money(i.view.price_per_hour_micro, i.view.currency), right=True, narrow=True),
        Column("AGE", lambda i: show_age(i.view.created_at), right=True, narrow=True),
    ]
    session.screen.table(columns, found, empty="no instances; `gpuyard instances create --gpu TYPE` makes one")


def show(session: Session, instance: InstanceRef) -> None:
    """Everything known of one instance."""
    with session.client() as client:
        found = client.instances.get(instance)
        usage = found.usage()
    view = found.view
    facts = [
        ("name", view.name),
        ("id", f"{view.id} ({view.short_id})"),
        ("state", f"{_state(found)}{f': {view.state_reason}' if view.state_reason else ''}"),
        ("GPUs", show_gpus(view.gpus) + (" (simulated: they do no real GPU work)" if view.simulated else "")),
        ("size", f"{view.vcpus} vCPU, {view.ram_gb} GB memory, {view.disk_gb} GB disk"),
        ("image", view.image),
        ("provider", f"{view.provider or '–'}{f', region {view.region}' if view.region else ''}"),
        ("per hour", show_money(view.price_per_hour_micro, view.currency)),
        ("cost so far", show_money(usage.cost_micro, usage.currency)),
        ("ran", show_seconds(usage.seconds)),
        ("made", f"{view.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("limits", _limits(view)),
        ("labels", ", ".join(f"{key}={value}" for key, value in view.labels.items()) or "none"),
        ("applications", view.url_path),
    ]
    session.screen.facts(facts, {"instance": view, "usage": usage})


def why(session: Session, instance: InstanceRef) -> None:
    """Why it is in its state, and every try to place it."""
    with session.client() as client:
        found = client.instances.get(instance)
        told = found.why()
    screen = session.screen
    if session.options.as_json:
        screen.result(told)
        return
    place = f", place {told.line_position} in line" if told.line_position else ""
    screen.line(f"{found.name} is {told.state}{place}{f': {told.reason}' if told.reason else ''}")
    for attempt in told.attempts:
        times = f", {attempt.times} times" if attempt.times > 1 else ""
        screen.line(f"  {attempt.last_at:%H:%M:%S}  {attempt.outcome}{times}: {attempt.reason}")


def rename(session: Session, instance: InstanceRef, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give it another name."""
    with session.client() as client:
        found = client.instances.get(instance)
        found.rename(name)
        session.screen.result(found.view, f"{instance} is now {found.name}")


def stop(
    session: Session,
    instances: InstanceRefs,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it has stopped.")] = True,
) -> int:
    """Give the GPUs back and keep the disk."""

    def one(instance: Instance) -> str:
        instance.stop()
        if wait:
            with session.screen.stage(f"stopping {instance.name}"):
                instance.wait_until("stopped")
        return f"{instance.name} {instance.state}"

    return _each(session, instances, one)


def start(
    session: Session,
    instances: InstanceRefs,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait in line, and until it runs.")] = True,
) -> int:
    """Bring a stopped instance back, with its disk."""

    def one(instance: Instance) -> str:
        instance.start(wait=wait)
        if wait:
            _until_running(session, instance, f"starting {instance.name}")
        return f"{instance.name} {instance.state}"

    return _each(session, instances, one)


def remove(
    session: Session,
    instances: InstanceRefs,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is gone.")] = True,
) -> int:
    """Delete instances with their disks."""

    def one(instance: Instance) -> str:
        instance.delete()
        if wait:
            with session.screen.stage(f"deleting {instance.name}"):
                instance.wait_until("deleted")
        return f"{instance.name} {instance.state}"

    return _each(session, instances, one)


def _each(session: Session, refs: list[str], do: Any) -> int:
    """Do it to every one, whatever becomes of the others; the first failure gives the exit status."""
    done: list[object] = []
    status = ExitStatus.OK
    with session.client() as client:
        for ref in dict.fromkeys(refs):
            try:
                instance = client.instances.get(ref)
                said = do(instance)
            except Exception as error:
                if len(refs) == 1:
                    raise
                failure = failure_of(error)
                status = status or failure.status
                done.append(failure.as_json() | {"instance": ref})
                if not session.options.as_json:
                    session.screen.failure(failure)
                continue
            done.append(instance.view)
            session.screen.line(said)
    session.screen.result({"items": done})
    return status


def _until_running(session: Session, instance: Instance, text: str) -> None:
    with session.screen.stage(text) as tell:
        words = WaitingWords(instance.name)
        instance.wait_until_running(on_progress=lambda progress: tell(words.of(progress)))


def _state(instance: Instance) -> str:
    place = instance.view.line_position
    return f"{instance.state} ({place})" if place else str(instance.state)


def _limits(view: Any) -> str:
    limits = view.limits
    known = {
        "cost": None if limits.max_cost_micro is None else show_money(limits.max_cost_micro, view.currency),
        "duration": limits.max_duration_seconds and show_seconds(limits.max_duration_seconds),
        "idleness": limits.max_idle_seconds and show_seconds(limits.max_idle_seconds),
        "start": limits.max_start_seconds and show_seconds(limits.max_start_seconds),
    }
    return ", ".join(f"{name} {value}" for name, value in known.items() if value) or "none"


def find(client: Client, ref: str) -> Instance:
    return client.instances.get(ref)
