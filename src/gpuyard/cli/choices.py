"""Options that several commands share, and what Tab offers for them."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from gpuyard.cli.home import open_client
from gpuyard.cli.options import Options


def complete_gpu(incomplete: str) -> list[tuple[str, str]]:
    """GPU types of the yard, behind what is there already: `rtx-4090:2,nvi…`."""
    before, comma, last = incomplete.rpartition(",")
    found: dict[str, str] = {}
    with contextlib.suppress(Exception, SystemExit), open_client(Options()) as client:
        for offer in client.offers():
            found.setdefault(offer.gpu_type, f"{offer.available} free")
    return [(f"{before}{comma}{kind}", note) for kind, note in found.items() if kind.startswith(last)]


def complete_instance(incomplete: str) -> list[tuple[str, str]]:
    """Names of your instances that are not gone. Silent where no yard answers: Tab is no place for errors."""
    with contextlib.suppress(Exception, SystemExit), open_client(Options()) as client:
        return [
            (instance.name, str(instance.state))
            for instance in client.instances.list()
            if instance.name.startswith(incomplete)
        ]
    return []


InstanceRef = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Its name, short id or id.", autocompletion=complete_instance)
]
InstanceRefs = Annotated[
    list[str], typer.Argument(metavar="INSTANCE…", help="Names, short ids or ids.", autocompletion=complete_instance)
]
GpuOption = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu",
        "-g",
        metavar="TYPE[:N],…",
        help="GPU types and counts, e.g. rtx-4090:2 or a10,l4. None for an instance without GPUs.",
        autocompletion=complete_gpu,
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="compute-gpu-{short id} unless set.")]
VcpusOption = Annotated[int, typer.Option("--vcpus", min=1, help="CPU cores.")]
RamOption = Annotated[int, typer.Option("--ram", min=1, metavar="GB", help="Memory.")]
DiskOption = Annotated[int, typer.Option("--disk", min=1, metavar="GB", help="Disk.")]
ImageOption = Annotated[str, typer.Option("--image", help="What it starts from.")]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="An environment variable; repeatable.")
]
LabelOption = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="A label; repeatable.")
]
MaxCostOption = Annotated[
    str | None, typer.Option("--max-cost", metavar="AMOUNT", help="Stop it by itself when it has cost this much.")
]
MaxDurationOption = Annotated[
    str | None, typer.Option("--max-duration", metavar="TIME", help="Stop it by itself after this long: 90s, 30m, 2h.")
]
ProviderOption = Annotated[list[str] | None, typer.Option("--provider", metavar="NAME", help="Only there; repeatable.")]
MaxPriceOption = Annotated[
    str | None, typer.Option("--max-price", metavar="AMOUNT", help="At most this much per hour.")
]
