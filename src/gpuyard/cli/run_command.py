"""`gpuyard run SCRIPT`: from a script here to its results here, on a GPU in between."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from gpuyard.cli.amounts import parse_duration, parse_gpus, parse_pairs
from gpuyard.cli.choices import (
    DiskOption,
    EnvOption,
    GpuOption,
    ImageOption,
    LabelOption,
    MaxCostOption,
    MaxDurationOption,
    MaxPriceOption,
    NameOption,
    ProviderOption,
    RamOption,
    VcpusOption,
)
from gpuyard.cli.interruptions import Interrupted, Interruptions
from gpuyard.cli.run_plan import is_command_form, make_plan
from gpuyard.cli.session import Session
from gpuyard.cli.yard_commands import ensure_yard


def run(
    session: Session,
    words: Annotated[
        list[str], typer.Argument(metavar="SCRIPT [ARGS…]", help="The script and what it is given; or `-- COMMAND …`.")
    ],
    gpu: GpuOption = None,
    out: Annotated[
        list[str] | None,
        typer.Option("--out", "-o", metavar="PATH[:HERE]", help="Fetch this file or folder afterwards; repeatable."),
    ] = None,
    uploads: Annotated[
        list[str] | None,
        typer.Option("--upload", "-u", metavar="PATH[:THERE]", help="Send this file or folder along; repeatable."),
    ] = None,
    requirements: Annotated[
        str | None, typer.Option("--requirements", "-r", metavar="FILE", help="pip installs these there first.")
    ] = None,
    max_cost: MaxCostOption = None,
    max_duration: MaxDurationOption = None,
    max_price: MaxPriceOption = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait in line when nothing is free.")] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the instance afterwards.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it runs; follow with `instances logs`.")
    ] = False,
    name: NameOption = None,
    vcpus: VcpusOption = 2,
    ram: RamOption = 4,
    disk: DiskOption = 20,
    image: ImageOption = "python",
    env: EnvOption = None,
    label: LabelOption = None,
    provider: ProviderOption = None,
) -> int:
    """Run a script on a GPU and bring its results back.

    Finds or waits for an instance, sends, runs, fetches, gives it back and shows the bill.

    The script's own options go after `--`: `gpuyard run train.py --gpu a100 -- --epochs 5`. With nothing before `--`, what
    follows is a command: `gpuyard run --gpu a100 -- nvidia-smi -L`. Paths below this directory keep their place there.
    """
    plan = make_plan(
        words,
        is_command=is_command_form(session.argv, words),
        uploads=uploads or (),
        outs=out or (),
        requirements=requirements,
        cwd=Path.cwd(),
    )
    order: dict[str, Any] = {
        "gpus": parse_gpus(gpu or ()),
        "name": name,
        "vcpus": vcpus,
        "ram_gb": ram,
        "disk_gb": disk,
        "image": image,
        "env": parse_pairs(env or (), "--env"),
        "labels": parse_pairs(label or (), "--label"),
        "max_cost": max_cost,
        "max_duration": parse_duration(max_duration, "--max-duration"),
        "max_price_per_hour": max_price,
        "providers": provider,
        "wait": wait,
    }
    try:
        with Interruptions(lambda: None):
            ensure_yard(session)
    except Interrupted as interrupted:
        return interrupted.status
    from gpuyard.cli.run_flow import Run, RunOptions

    with session.client() as client:
        return Run(
            session.screen, client, RunOptions(plan, order, secrets.token_urlsafe(18), keep=keep, detach=detach)
        ).perform()
