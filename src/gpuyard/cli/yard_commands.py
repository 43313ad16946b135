"""A yard on this machine (`up`, `down`, `status`), or the way to another's (`login`)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpuyard.cli import local_yard
from gpuyard.cli.amounts import show_money
from gpuyard.cli.failures import CliError, ExitStatus, failure_of
from gpuyard.cli.home import Access, connect, data_directory, find_access, home, store
from gpuyard.cli.local_yard import Running, YardOptions
from gpuyard.cli.options import Options
from gpuyard.cli.screen import jsonable
from gpuyard.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence


IDLE_EXIT_SECONDS = 300
"""How long a yard that `run` started stays after the last instance and caller."""

NO_GPU = "cpu"
"""The type of an offer of instances without GPUs."""


ACTIVE = ["waiting", "requested", "provisioning", "running", "starting"]
"""What runs or is on its way to."""


def up(
    session: Session,
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 unless set.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 8470 unless set, 0 takes a free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="The data directory.")] = None,
    config: Annotated[Path | None, typer.Option(help="A settings file, gpuyard.yaml.")] = None,
    simulate: Annotated[
        str | None, typer.Option(metavar="GPU=N,…", help="Simulated GPUs, e.g. nvidia-rtx-3090=2; `none` for none.")
    ] = None,
    idle_exit: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="End after so long without instances and callers.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it runs on.")] = False,
) -> int:
    """Start a yard on this machine and show its log until Ctrl-C."""
    options = YardOptions(host, port, data, config, simulate, idle_exit)
    _make_way(session, data_directory(data))
    if detach:
        running = local_yard.start_detached(options, yard_log())
        _introduce(session, running)
        session.screen.say(f"log: {yard_log()}\n`gpuyard down` stops it")
        return ExitStatus.OK
    return _in_foreground(session, options)


def _make_way(session: Session, where: Path) -> None:
    """A yard that `gpuyard run` started for a while ends for one that stays, unless somebody's work is in it."""
    running = local_yard.running_yard(where)
    if running is None or not local_yard.ends_when_idle(running):
        return  # the server itself says what is in the way
    if count := _count_instances(session.options, running, ACTIVE):
        raise CliError(
            f"the yard that `gpuyard run` started at {running.url} is in use: {count} instance{'s' if count > 1 else ''}",
            status=ExitStatus.CONFLICT,
            hint="wait until that run has ended, or end the yard with `gpuyard down`",
        )
    session.screen.say(f"taking over from the yard that `gpuyard run` started at {running.url}")
    local_yard.stop(running)


def down(
    session: Session,
    data: Annotated[Path | None, typer.Option(help="The data directory of the yard to stop.")] = None,
) -> None:
    """Stop this machine's yard; instances run on.

    Its instances run on, and the next `up` has them again."""
    where = data_directory(data)
    running = local_yard.running_yard(where)
    if running is None:
        session.screen.result({"stopped": False, "instances": None}, f"no yard runs in {where}")
        return
    count = _count_instances(session.options, running, ["running"])
    local_yard.stop(running)
    text = f"stopped the yard at {running.url}"
    if count:
        text += f"; {count} instance{'s run' if count > 1 else ' runs'} on, and still cost{'s' if count == 1 else ''}"
    session.screen.result({"stopped": True, "url": running.url, "pid": running.pid, "instances": count}, text)


def status(session: Session) -> None:
    """The yard, its GPUs, your instances and what they cost."""
    with session.client() as client:
        me, balance, offers, providers = client.me(), client.balance(), client.offers(), client.providers()
        instances = list(client.instances.list(state=ACTIVE))
        url = client.url
    waiting = sum(1 for instance in instances if str(instance.state) == "waiting")
    running = sum(1 for instance in instances if str(instance.state) == "running")
    value = {
        "url": url,
        "version": me.version,
        "account": me.account,
        "balance": balance,
        "providers": providers,
        "offers": offers,
        "instances": {"running": running, "waiting": waiting, "active": len(instances)},
    }
    session.screen.facts(
        [
            ("yard", f"{url}, version {me.version}"),
            ("account", f"{me.account.name}, as {me.member.name} ({me.member.role})"),
            *((f"provider {p.name}", _provider_line(p)) for p in providers),
            ("free now", _free_line(offers)),
            ("instances", f"{running} running, {waiting} waiting, {len(instances) - running - waiting} on the way"),
            ("spending", f"{show_money(balance.running_per_hour_micro, balance.currency)} per hour now"),
            ("balance", show_money(balance.balance_micro, balance.currency)),
        ],
        value,
    )


def login(
    session: Session,
    yard: Annotated[str, typer.Argument(metavar="URL", help="Where the yard is, e.g. https://yard.example.org")],
    key: Annotated[str | None, typer.Option("--key", help="The key; asked for unless given.")] = None,
) -> None:
    """Keep the key of a yard for the next commands, after trying it."""
    url = yard.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{yard!r} is no address of a yard", hint="it begins with https:// or http://")
    secret = (key or session.options.api_key or typer.prompt("key", hide_input=True, err=True)).strip()
    with connect(Access(url, secret, "--key")) as client:
        me = client.me()
    path = store(url, secret)
    session.screen.result(
        {"url": url, "account": me.account, "member": me.member, "stored_in": str(path)},
        f"you are {me.member.name} of account {me.account.name} at {url}; stored in {path}",
    )


def version(session: Session) -> None:
    """The version of gpuyard."""
    from gpuyard import __version__

    session.screen.result({"version": __version__}, f"gpuyard {__version__}")


def yard_log() -> Path:
    return home() / "yard.log"


def ensure_yard(session: Session) -> None:
    """For commands that need a yard and may start one: does so where none is configured, or ours does not run."""
    known = find_access(session.options) is not None
    if known and not _ours_is_down(session.options):
        return
    where = data_directory()
    why = "your yard does not run" if known else "no yard is configured"
    session.screen.say(f"{why}: starting one on this machine, in {where}")
    try:
        # port 0: what happens to listen on the usual port is nobody's concern here
        options = YardOptions(port=0, idle_exit_seconds=IDLE_EXIT_SECONDS)
        running = local_yard.start_detached(options, yard_log())
    except CliError as error:
        if error.status is not ExitStatus.CONFLICT:
            raise
        running = _started_by_another(error, where)
    session.screen.say(
        f"{running.url} is ready; it ends after {IDLE_EXIT_SECONDS // 60} idle minutes, `gpuyard up` stays"
    )


def _started_by_another(refused: CliError, where: Path) -> Running:
    """Somebody started the same yard in the same moment: theirs is ours."""
    deadline = time.monotonic() + local_yard.START_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        running = local_yard.running_yard(where)
        if running is not None:
            return running
        local_yard.pause(0.05)
    raise refused


def _ours_is_down(options: Options) -> bool:
    """Whether the credentials are of this machine's own yard, whose process has ended since."""
    if options.url or os.environ.get("GPUYARD_URL") or local_yard.running_yard(data_directory()):
        return False
    access = find_access(options)
    if access is None or not access.url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        return False
    if not (data_directory() / "server.json").exists() and not (data_directory() / "yard.db").exists():
        return False
    try:
        with connect(access) as client:
            client.me()
    except Exception as error:
        return failure_of(error).code == "connection_failed"
    return False


def _in_foreground(session: Session, options: YardOptions) -> int:
    process, reading = local_yard.launch(options, output=None)

    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    running = local_yard.await_ready(process, reading, lambda: "")
    _introduce(session, running)
    session.screen.say("Ctrl-C stops it; instances run on")
    status = process.wait()
    return local_yard.START_STATUS.get(status, ExitStatus.BUG) if status > 0 else ExitStatus.OK


def _introduce(session: Session, running: Running) -> None:
    """What a new yard is and has: address, key if it is the first start, GPUs, warnings."""
    screen, known = session.screen, None
    with contextlib.suppress(Exception):
        known = _inventory(session.options, running)
    if session.options.as_json:
        screen.result({"url": running.url, "pid": running.pid, "owner_key": running.owner_key} | (known or {}))
        return
    screen.line(f"yard: {running.url} (process {running.pid})")
    if running.owner_key:
        screen.line(f"owner key, shown this once: {running.owner_key}")
    if known is None:
        return
    for offer in known["offers"]:
        if offer["gpu_type"] == NO_GPU:
            continue
        kind = "simulated: it does no real GPU work" if offer["simulated"] else f"{offer['gpu_memory_gb']} GB"
        price = show_money(offer["price_per_hour_micro"], offer["currency"], places=2)
        screen.line(f"GPU: {offer['total'] or offer['available']}× {offer['gpu_name']} at {price} per hour ({kind})")
    for provider in known["providers"]:
        for warning in provider["warnings"]:
            screen.warn(warning)


def _inventory(options: Options, running: Running) -> dict[str, Any] | None:
    access = _access_to(options, running)
    if access is None:
        return None
    with connect(access) as client:
        return {"offers": _plain(client.offers()), "providers": _plain(client.providers())}


def _access_to(options: Options, running: Running) -> Access | None:
    if running.owner_key:
        return Access(running.url, running.owner_key, "the ready line")
    found = find_access(options)
    return Access(running.url, found.api_key, found.source) if found else None


def _count_instances(options: Options, running: Running, states: list[str]) -> int | None:
    """None where we have no key to ask with: stopping goes on without."""
    with contextlib.suppress(Exception):
        access = _access_to(options, running)
        if access is not None:
            with connect(access) as client:
                return sum(1 for _ in client.instances.list(state=states))
    return None


def _plain(items: Sequence[object]) -> list[dict[str, Any]]:
    return [jsonable(item) for item in items]


def _provider_line(provider: Any) -> str:
    if not provider.healthy:
        return f"does not answer: {provider.problem}"
    total = "?" if provider.gpus_total is None else provider.gpus_total
    warned = f"; warning: {'; '.join(provider.warnings)}" if provider.warnings else ""
    return f"{provider.gpus_in_use} of {total} GPUs in use{warned}"


def _free_line(offers: Sequence[Any]) -> str:
    free = [
        f"{o.available}× {o.gpu_type}{' (simulated)' if o.simulated else ''}"
        for o in offers
        if o.available and o.gpu_type != NO_GPU
    ]
    return ", ".join(free) or "nothing"
