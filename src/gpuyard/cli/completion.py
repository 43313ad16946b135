"""`gpuyard completion`: what a shell needs so that Tab knows our commands, instances and GPU types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpuyard.cli.failures import CliError, ExitStatus
from gpuyard.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


def completion(
    session: Session,
    shell: Annotated[
        str | None, typer.Argument(metavar="[bash|zsh|fish]", help="Which shell; yours unless set.")
    ] = None,
) -> None:
    """Print a shell's completion script.

    Put `eval "$(gpuyard completion bash)"` into the file your shell reads when it starts.
    """
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    if chosen not in SHELLS:
        raise CliError(f"no completion for {chosen or 'an unknown shell'}", hint=f"there is: {', '.join(SHELLS)}")
    # the scripts are Typer's own; it prints them for a program that is started with this variable set
    asked = subprocess.run(
        [sys.executable, "-c", "from gpuyard.cli.main import app; app(prog_name='gpuyard')"],
        env=os.environ | {"_GPUYARD_COMPLETE": f"source_{chosen}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not asked.stdout:
        raise CliError("Typer made no script", status=ExitStatus.BUG, hint=asked.stderr.strip().splitlines()[-1])
    session.screen.result({"shell": chosen, "script": asked.stdout}, asked.stdout.rstrip())
