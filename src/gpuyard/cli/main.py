"""The tree of commands, and the one place where errors become a line, a hint and an exit status."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from gpuyard.cli import (
    account_commands,
    completion,
    doctor,
    instance_commands,
    instance_inside,
    key_commands,
    market_commands,
    run_command,
    yard_commands,
)
from gpuyard.cli.failures import MEANING, ExitStatus, debugging, failure_of
from gpuyard.cli.interruptions import Interrupted
from gpuyard.cli.screen import Screen
from gpuyard.cli.session import asked_for_json, begin, command, global_options_callback, group

HELP = "Your own GPU cloud: `gpuyard run train.py --gpu rtx-4090` finds a GPU, runs the script there and gives it back."
STATUSES = "\n".join(
    (
        "\b",  # keeps the lines as they are
        "Exit statuses; `run`, `exec` and `shell` end with that of what they ran:",
        *(f"{int(status):>5}  {meaning}" for status, meaning in MEANING.items()),
        "`GPUYARD_DEBUG=1` shows tracebacks.",
    )
)

DO, HAVE, YARD, OWN = "Do", "Instances and money", "The yard", "Accounts and keys"

app = typer.Typer(
    name="gpuyard",
    no_args_is_help=True,
    # Typer takes a quarter of a second to import what draws boxes around options
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback(epilog=STATUSES)(global_options_callback(HELP))

command(app, "run", panel=DO)(run_command.run)
command(app, "offers", panel=DO)(market_commands.offers)

instances = group(app, "instances", "Order instances, look at them, work in them.", panel=HAVE)
command(instances, "create")(instance_commands.create)
command(instances, "ls")(instance_commands.ls)
command(instances, "show")(instance_commands.show)
command(instances, "why")(instance_commands.why)
command(instances, "logs")(instance_inside.logs)
command(instances, "shell")(instance_inside.shell)
command(instances, "exec", own_args_last=True)(instance_inside.execute)
command(instances, "cp")(instance_inside.copy)
command(instances, "open")(instance_inside.open_)
command(instances, "rename")(instance_commands.rename)
command(instances, "stop")(instance_commands.stop)
command(instances, "start")(instance_commands.start)
command(instances, "rm")(instance_commands.remove)
command(app, "cost", panel=HAVE)(market_commands.cost)

command(app, "up", panel=YARD)(yard_commands.up)
command(app, "down", panel=YARD)(yard_commands.down)
command(app, "status", panel=YARD)(yard_commands.status)
command(app, "login", panel=YARD)(yard_commands.login)
command(app, "doctor", panel=YARD)(doctor.doctor)
command(app, "completion", panel=YARD)(completion.completion)
command(app, "version", panel=YARD)(yard_commands.version)

keys = group(app, "keys", "Make, list and revoke API keys.", panel=OWN)
command(keys, "create")(key_commands.create)
command(keys, "ls")(key_commands.ls)
command(keys, "revoke")(key_commands.revoke)

accounts = group(app, "accounts", "Accounts of the yard, for its owner.", panel=OWN)
command(accounts, "create")(account_commands.create)
command(accounts, "ls")(account_commands.ls)
command(accounts, "show")(account_commands.show)
command(accounts, "credit")(account_commands.credit)

members = group(app, "members", "The people of your account.", panel=OWN)
command(members, "add")(account_commands.add_member)
command(members, "ls")(account_commands.members)
command(members, "change")(account_commands.change_member)
command(members, "rm")(account_commands.remove_member)


def run() -> None:
    """The program `gpuyard`."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Run one command line and return its exit status."""
    session = begin(argv)
    try:
        outcome = app(args=argv, standalone_mode=False, prog_name="gpuyard")
    except Interrupted as interrupted:
        return interrupted.status
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # whoever read us has had enough (`| head`); nothing may be written at exit, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.OK
    except Exception as error:
        if debugging():
            traceback.print_exc()
        screen = session.screen
        if asked_for_json(argv) and not screen.as_json:
            screen = Screen(as_json=True)
        failure = failure_of(error)
        screen.failure(failure)
        return failure.status
    return outcome if isinstance(outcome, int) else ExitStatus.OK
