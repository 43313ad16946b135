"""A stand-in for `nvidia-smi` that answers with the simulated cards of one instance.

Run as a plain file by the script that `environment.prepare` writes, with the directory of its cards as first argument,
and without the site module: the standard library is all there is, and little of it is imported, because
programs call it in loops.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

CARDS_FILE = "gpus.json"
DRIVER = "570.00"
CUDA = "12.8"
NOTE = "These GPUs are simulated: there is no such hardware in this machine."

Card = dict[str, Any]

_UNKNOWN_OPTION = 2  # what the real one exits with
_NO_DEVICES = 6


class _Field(NamedTuple):
    unit: str
    value: Callable[[Card], object]


def _bus(card: Card) -> str:
    return f"00000000:{card['index'] + 1:02X}:00.0"


def _na(card: Card) -> str:
    return "[N/A]"


FIELDS: dict[str, _Field] = {
    "timestamp": _Field("", lambda card: time.strftime("%Y/%m/%d %H:%M:%S.000")),
    "index": _Field("", lambda card: card["index"]),
    "count": _Field("", lambda card: card["count"]),
    "name": _Field("", lambda card: card["name"]),
    "gpu_name": _Field("", lambda card: card["name"]),
    "uuid": _Field("", lambda card: card["uuid"]),
    "gpu_uuid": _Field("", lambda card: card["uuid"]),
    "driver_version": _Field("", lambda card: DRIVER),
    "pci.bus_id": _Field("", _bus),
    "gpu_bus_id": _Field("", _bus),
    "pstate": _Field("", lambda card: "P8"),
    "persistence_mode": _Field("", lambda card: "Enabled"),
    "compute_mode": _Field("", lambda card: "Default"),
    "display_active": _Field("", lambda card: "Disabled"),
    "display_mode": _Field("", lambda card: "Disabled"),
    "mig.mode.current": _Field("", _na),
    "mig.mode.pending": _Field("", _na),
    "serial": _Field("", _na),
    "vbios_version": _Field("", _na),
    "compute_cap": _Field("", _na),
    "memory.total": _Field("MiB", lambda card: card["memory_mb"]),
    "memory.used": _Field("MiB", lambda card: 0),
    "memory.free": _Field("MiB", lambda card: card["memory_mb"]),
    "memory.reserved": _Field("MiB", lambda card: 0),
    "utilization.gpu": _Field("%", lambda card: 0),
    "utilization.memory": _Field("%", lambda card: 0),
    "fan.speed": _Field("%", _na),
    "temperature.gpu": _Field("", lambda card: 30),
    "temperature.memory": _Field("", _na),
    "power.draw": _Field("W", lambda card: 0),
    "power.limit": _Field("W", _na),
    "enforced.power.limit": _Field("W", _na),
    "power.max_limit": _Field("W", _na),
    "clocks.sm": _Field("MHz", lambda card: 0),
    "clocks.mem": _Field("MHz", lambda card: 0),
    "clocks.gr": _Field("MHz", lambda card: 0),
    "clocks.current.sm": _Field("MHz", lambda card: 0),
    "clocks.current.memory": _Field("MHz", lambda card: 0),
    "clocks.current.graphics": _Field("MHz", lambda card: 0),
    "ecc.errors.uncorrected.volatile.total": _Field("", _na),
}

_APP_FIELDS = {"used_memory": "MiB", "used_gpu_memory": "MiB"}


def main(arguments: Sequence[str], cards: Sequence[Card]) -> int:
    """Answer one call; the exit status is that of the real program."""
    options, bad = _options(arguments)
    if bad is not None:
        _say(f'Invalid combination of input arguments. Please run "nvidia-smi -h" for help.\nunknown: {bad}')
        return _UNKNOWN_OPTION
    cards = [{**card, "count": len(cards)} for card in cards]
    if "id" in options:
        cards = [card for card in cards if options["id"] in _names(card)]
    if not cards:
        _say("No devices were found")
        return _NO_DEVICES
    if "loop" not in options:
        return _answer(options, cards)
    while True:
        status = _answer(options, cards)
        sys.stdout.flush()
        time.sleep(max(0.1, float(options["loop"] or 5)))  # noqa: TID251  (-l means just that: wait, then again)
        if status:
            return status


def _answer(options: dict[str, str], cards: Sequence[Card]) -> int:
    for name, render in _MODES.items():
        if name in options:
            return render(options, cards)
    _say(table(cards))
    return 0


def _names(card: Card) -> tuple[str, ...]:
    return (str(card["index"]), card["uuid"], _bus(card), _bus(card)[4:])


_FLAGS = {
    **dict.fromkeys(("-L", "--list-gpus"), "list"),
    **dict.fromkeys(("-q", "--query"), "query"),
    **dict.fromkeys(("-x", "--xml-format"), "xml"),
    **dict.fromkeys(("-h", "--help"), "help"),
    "--version": "version",
}
_VALUED = {
    **dict.fromkeys(("-i", "--id"), "id"),
    **dict.fromkeys(("-l", "--loop"), "loop"),
    **dict.fromkeys(("-d", "--display"), "display"),
    "--query-gpu": "query-gpu",
    "--query-compute-apps": "apps",
    "--format": "format",
}


def _options(arguments: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """The options by our names for them, and the first argument that is none."""
    found: dict[str, str] = {}
    todo = list(arguments)
    while todo:
        name, given, value = todo.pop(0).partition("=")
        if name in _FLAGS and not given:
            found[_FLAGS[name]] = ""
        elif name in _VALUED:
            if not given and todo and not todo[0].startswith("-"):
                value = todo.pop(0)
            found[_VALUED[name]] = value
        else:
            return found, name
    return found, None


def _query(options: dict[str, str], cards: Sequence[Card]) -> int:
    asked = [name.strip() for name in options["query-gpu"].split(",") if name.strip()]
    shape = _format(options)
    if shape is None or not asked:
        return _UNKNOWN_OPTION
    for name in asked:
        if name not in FIELDS:
            _say(f'Field "{name}" is not a valid field to query.\n')
            return _UNKNOWN_OPTION
    if "noheader" not in shape:
        _say(", ".join(f"{name} [{FIELDS[name].unit}]" if FIELDS[name].unit else name for name in asked))
    for card in cards:
        _say(", ".join(_cell(FIELDS[name], card, units="nounits" not in shape) for name in asked))
    return 0


def _format(options: dict[str, str]) -> list[str] | None:
    shape = options.get("format", "").split(",")
    if "csv" in shape and set(shape) <= {"csv", "noheader", "nounits"}:
        return shape
    _say('"--format=" must be csv, with noheader and nounits if you like, as in --format=csv,noheader')
    return None


def _cell(field: _Field, card: Card, *, units: bool) -> str:
    value = field.value(card)
    return f"{value} {field.unit}" if units and field.unit and isinstance(value, int) else str(value)


def _compute_apps(options: dict[str, str], cards: Sequence[Card]) -> int:
    shape = _format(options)
    if shape is None:
        return _UNKNOWN_OPTION
    if "noheader" not in shape:
        asked = [name.strip() for name in options["apps"].split(",")]
        _say(", ".join(f"{name} [{_APP_FIELDS[name]}]" if name in _APP_FIELDS else name for name in asked))
    return 0


def _list(options: dict[str, str], cards: Sequence[Card]) -> int:
    for card in cards:
        _say(f"GPU {card['index']}: {card['name']} (UUID: {card['uuid']})")
    return 0


def _details(options: dict[str, str], cards: Sequence[Card]) -> int:
    _say(_xml(cards) if "xml" in options else _prose(cards))
    return 0


def _prose(cards: Sequence[Card]) -> str:
    lines = ["", "==============NVSMI LOG==============", "", f"{'Note':<42}: {NOTE}"]
    lines += [
        f"{'Driver Version':<42}: {DRIVER}",
        f"{'CUDA Version':<42}: {CUDA}",
        f"{'Attached GPUs':<42}: {len(cards)}",
    ]
    for card in cards:
        lines += [f"GPU {_bus(card)}"]
        lines += [f"    {'Product Name':<38}: {card['name']}", f"    {'GPU UUID':<38}: {card['uuid']}"]
        lines += ["    FB Memory Usage", f"        {'Total':<34}: {card['memory_mb']} MiB"]
        lines += [f"        {'Used':<34}: 0 MiB", f"        {'Free':<34}: {card['memory_mb']} MiB"]
        lines += ["    Utilization", f"        {'Gpu':<34}: 0 %", f"        {'Memory':<34}: 0 %"]
    return "\n".join(lines)


def _xml(cards: Sequence[Card]) -> str:
    lines = ['<?xml version="1.0" ?>', '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">', f"<!-- {NOTE} -->"]
    lines += [
        "<nvidia_smi_log>",
        f"  <driver_version>{DRIVER}</driver_version>",
        f"  <cuda_version>{CUDA}</cuda_version>",
    ]
    lines += [f"  <attached_gpus>{len(cards)}</attached_gpus>", *map(_xml_card, cards), "</nvidia_smi_log>"]
    return "\n".join(lines)


def _xml_card(card: Card) -> str:
    name = card["name"].replace("&", "&amp;").replace("<", "&lt;")
    memory = f"<total>{card['memory_mb']} MiB</total><used>0 MiB</used><free>{card['memory_mb']} MiB</free>"
    return (
        f'  <gpu id="{_bus(card)}">\n    <product_name>{name}</product_name>\n    <uuid>{card["uuid"]}</uuid>\n'
        f"    <minor_number>{card['index']}</minor_number>\n    <fb_memory_usage>{memory}</fb_memory_usage>\n"
        "    <utilization><gpu_util>0 %</gpu_util><memory_util>0 %</memory_util></utilization>\n"
        "    <processes></processes>\n  </gpu>"
    )


def table(cards: Sequence[Card]) -> str:
    """The picture people know, with a line that says what these cards are."""
    rule = "+" + "+".join("-" * width for width in (41, 24, 22)) + "+"
    thick = rule.replace("-", "=").replace("+", "|")
    full = "+" + "-" * 89 + "+"
    lines = [time.strftime("%a %b %e %H:%M:%S %Y"), full]
    lines += [
        f"| {f'NVIDIA-SMI {DRIVER}   Driver Version: {DRIVER}   CUDA Version: {CUDA}':<88}|",
        f"| {NOTE:<88}|",
        rule,
    ]
    lines += [
        _row(" GPU  Name", "Bus-Id ", "Volatile Uncorr. ECC "),
        _row(" Fan  Temp   Perf  Pwr:Usage/Cap", "Memory-Usage ", "GPU-Util  Compute M. "),
    ]
    lines += [thick]
    for card in cards:
        lines += [_row(f" {card['index']:>3}  {card['name']}"[:41], f"{_bus(card)} ", "N/A ")]
        lines += [_row(" N/A   30C    P8    0W / N/A", f"0MiB / {card['memory_mb']}MiB ", "0%      Default "), rule]
    lines += [full, f"| {'Processes:':<88}|", f"| {'  No running processes found':<88}|", full]
    return "\n".join(lines)


def _row(left: str, middle: str, right: str) -> str:
    return f"|{left:<41}|{middle:>24}|{right:>22}|"


def _help(options: dict[str, str], cards: Sequence[Card]) -> int:
    _say(
        f"NVIDIA-SMI stand-in. {NOTE}\n\n    nvidia-smi [-L | -q [-x] | --query-gpu=FIELDS --format=csv[,noheader][,nounits]]"
    )
    _say("               [-i ID] [-l SECONDS]\n\nFields: " + ", ".join(sorted(FIELDS)))
    return 0


def _version(options: dict[str, str], cards: Sequence[Card]) -> int:
    _say(f"NVIDIA-SMI version  : {DRIVER}\nDRIVER version      : {DRIVER}\nCUDA Version        : {CUDA}\n{NOTE}")
    return 0


_MODES: dict[str, Callable[[dict[str, str], Sequence[Card]], int]] = {
    "help": _help,
    "version": _version,
    "list": _list,
    "query-gpu": _query,
    "apps": _compute_apps,
    "query": _details,
}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _cards(directory: str) -> list[Card]:
    with open(f"{directory}/{CARDS_FILE}", encoding="utf-8") as file:  # noqa: PTH123  (pathlib doubles the start-up)
        cards: list[Card] = json.load(file)
    return cards


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[2:], _cards(sys.argv[1])))
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)  # `nvidia-smi -l 1 | head` is no error
