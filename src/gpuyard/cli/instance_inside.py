"""`gpuyard instances`: what happens inside one: output, shells, commands, files, applications."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuyard.cli.amounts import parse_duration, parse_pairs, show_age, show_bytes
from gpuyard.cli.choices import EnvOption, InstanceRef
from gpuyard.cli.failures import CliError, ExitStatus
from gpuyard.cli.interruptions import Interrupted, Interruptions
from gpuyard.cli.output import Output
from gpuyard.cli.screen import Column
from gpuyard.cli.session import Session, in_a_terminal
from gpuyard.cli.transfers import download, upload

if TYPE_CHECKING:
    from gpuyard.sdk import ExecutionFollower, Instance


def logs(
    session: Session,
    instance: InstanceRef,
    execution: Annotated[
        str | None, typer.Option("--execution", "-x", metavar="ID", help="Which one; the last unless set.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it ends; ends with its exit status.")] = False,
    overview: Annotated[bool, typer.Option("--list", help="Only list what ran in the instance.")] = False,
) -> int:
    """What an instance's program wrote.

    By its id also after the instance is deleted.
    """
    with session.client() as client:
        found = client.instances.get(instance)
        if overview:
            _list_executions(session, found)
            return ExitStatus.OK
        one = found.execution(execution) if execution else next(iter(found.executions()), None)
        if one is None:
            raise CliError(
                f"nothing ran in {found.name} yet",
                status=ExitStatus.NOT_FOUND,
                hint=f"gpuyard instances exec {found.name} -- nvidia-smi",
            )
        output = Output(all_to_stderr=session.options.as_json)
        output.write_all(one.follow() if follow else one.records())
        one.refresh()
        session.screen.result(one.view)
    if not follow:
        return ExitStatus.OK
    return _status(one, output)


def execute(
    session: Session,
    instance: InstanceRef,
    words: Annotated[list[str], typer.Argument(metavar="COMMAND [ARGS…]", help="Run as it is, with no shell around.")],
    env: EnvOption = None,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="TIME", help="End it after so long.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it runs.")] = False,
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass our standard input on.")] = False,
) -> int:
    """Run a command in an instance.

    Ends with its exit status. Ctrl-C interrupts it.
    """
    argv = words[1:] if words[0] == "--" else words
    if not argv:
        raise CliError("nothing to run", hint="gpuyard instances exec INSTANCE -- COMMAND [ARGS…]")
    with session.client() as client:
        found = client.instances.get(instance)
        one = found.submit(
            argv, name=argv[0], env=parse_pairs(env or (), "--env"), timeout=parse_duration(timeout, "--timeout")
        )
        if detach:
            session.screen.result(one.view, one.id)
            return ExitStatus.OK
        if stdin:
            _pass_input(one)
        return _follow(session, one)


def shell(
    session: Session,
    instance: InstanceRef,
    join: Annotated[
        str | None, typer.Option("--join", metavar="TERMINAL", help="One that is open already, e.g. after a cut.")
    ] = None,
) -> int:
    """A shell in an instance.

    Standard input that is no terminal is run as a script.
    """
    with session.client() as client:
        found = client.instances.get(instance)
        if not in_a_terminal():
            return _follow(session, found.submit(sys.stdin.read(), kind="shell", name="shell"))
        from gpuyard.cli.terminal import converse, size

        name = join or f"cli-{secrets.token_hex(4)}"
        cols, rows = size()
        status = converse(found.terminal(name, columns=cols, rows=rows))
    if status is None:
        raise CliError(
            "the connection was lost; the shell goes on there",
            status=ExitStatus.TEMPORARY,
            hint=f"gpuyard instances shell {found.name} --join {name}",
            code="connection_failed",
        )
    return status & 0xFF


def copy(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="FROM", help="PATH here, or INSTANCE:PATH.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The other of the two.")],
) -> None:
    """Copy a file or folder into or out of an instance."""
    there_from, there_to = _remote(source), _remote(target)
    if (there_from is None) == (there_to is None):
        raise CliError(
            "one of the two must be in an instance, and the other here",
            hint="gpuyard instances cp data.csv NAME:data.csv, or cp NAME:model.pt .",
        )
    with session.client() as client, session.screen.transfer(f"copying {source}") as progress:
        if there_from is not None:
            ref, path = there_from
            here = Path(target)
            here = here / Path(path).name if here.is_dir() else here
            done = download(client.instances.get(ref), path, here, progress)
            target = str(here)
        elif there_to is not None:
            ref, path = there_to
            here = Path(source)
            if not here.exists():
                raise CliError(f"{source} is not there", status=ExitStatus.NOT_FOUND, hint="check the path")
            path = f"{path}{here.resolve().name}" if not path or path.endswith("/") else path
            done = upload(client.instances.get(ref), here, path, progress)
    session.screen.result({"from": source, "to": target, "bytes": done}, f"{source} → {target} ({show_bytes(done)})")


def open_(
    session: Session,
    instance: InstanceRef,
    browser: Annotated[bool, typer.Option("--browser", "-b", help="Open it in a browser here.")] = False,
) -> None:
    """The address of its JupyterLab, for a browser.

    The address carries a ticket that lets you in once.
    """
    with session.client() as client:
        found = client.instances.get(instance)
        url = found.open()
    session.screen.result({"url": url}, url)
    if browser and typer.launch(url) != 0:
        session.screen.warn("no browser could be started here")


def _follow(session: Session, one: ExecutionFollower) -> int:
    output = Output(all_to_stderr=session.options.as_json)
    with Interruptions(lambda: None) as interruptions:
        try:
            output.write_all(one.follow())
        except Interrupted as interrupted:
            interruptions.hold()
            one.signal("INT")
            output.end_line()
            session.screen.say("interrupted")
            return interrupted.status
    output.end_line()
    if output.reason:
        session.screen.say(f"it was ended: {output.reason}")
    one.refresh()
    session.screen.result(one.view)
    return _status(one, output)


def _status(one: ExecutionFollower, output: Output) -> int:
    if output.exit_code is None:
        raise CliError(
            f"the instance ended before {one.view.name or one.id} did",
            status=ExitStatus.LOST,
            hint="`gpuyard instances why INSTANCE` tells what is known",
            code="lost",
        )
    return 128 - output.exit_code if output.exit_code < 0 else output.exit_code & 0xFF


def _pass_input(one: ExecutionFollower) -> None:
    while piece := os.read(sys.stdin.fileno(), 65536):
        one.stdin(piece)
    one.stdin(eof=True)


def _list_executions(session: Session, instance: Instance) -> None:
    columns: list[Column[ExecutionFollower]] = [
        Column("ID", lambda x: x.id, narrow=True),
        Column("NAME", lambda x: x.view.name or str(x.view.kind)),
        Column("STATE", lambda x: f"{x.view.state}{f' ({x.view.reason})' if x.view.reason else ''}"),
        Column("EXIT", lambda x: "–" if x.view.exit_code is None else str(x.view.exit_code), right=True, narrow=True),
        Column("STARTED", lambda x: show_age(x.view.started_at), right=True, narrow=True),
        Column("OUTPUT", lambda x: show_bytes(x.view.output_bytes), right=True, narrow=True),
    ]
    found = list(instance.executions())
    session.screen.table(columns, found, empty="nothing ran here yet")


def _remote(text: str) -> tuple[str, str] | None:
    """`NAME:PATH`; a path that starts like one of this machine's is none."""
    name, colon, path = text.partition(":")
    if not colon or not name or "/" in name or name in (".", ".."):
        return None
    return name, path
