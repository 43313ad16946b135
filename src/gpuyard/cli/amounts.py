"""What people type and read: GPU lists, money, durations, sizes, name=value pairs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from gpuyard.cli.failures import CliError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def parse_gpus(texts: Iterable[str]) -> list[tuple[str, int]]:
    """`["rtx-4090:2,a100"]` → two RTX 4090 and one A100 in one instance. The yard knows the names, we do not."""
    gpus: list[tuple[str, int]] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        kind, colon, count = part.partition(":")
        if not kind.strip() or (colon and not re.fullmatch(r"[1-9]\d{0,3}", count.strip())):
            raise CliError(
                f"--gpu does not understand {part!r}", hint="write TYPE or TYPE:COUNT, e.g. --gpu rtx-4090:2"
            )
        gpus.append((kind.strip(), int(count) if colon else 1))
    return gpus


def parse_duration(text: str | None, option: str) -> float | None:
    """`90`, `90s`, `30m`, `1h30m`, `2d` → seconds."""
    if text is None:
        return None
    folded = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", folded):
        seconds = float(folded)
    elif re.fullmatch(r"(\d+(\.\d+)?d)?(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?", folded) and folded:
        seconds = sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)([dhms])", folded))
    else:
        raise CliError(f"{option} does not understand {text!r}", hint="write seconds, or e.g. 90s, 30m, 1h30m, 2d")
    if seconds <= 0:
        raise CliError(f"{option} must be more than nothing, not {text!r}", hint="write e.g. 30m")
    return seconds


def parse_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """`["team=vision"]` → `{"team": "vision"}`."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CliError(f"{option} needs NAME=VALUE, not {text!r}", hint=f"e.g. {option} team=vision")
        pairs[name] = value
    return pairs


def show_money(amount_micro: int | None, currency: str, *, places: int = 4) -> str:
    if amount_micro is None:
        return "–"
    from gpuyard.domain.money import show_micro

    return show_micro(amount_micro, currency, places=places)


def show_seconds(seconds: float | None) -> str:
    """`0.4 s`, `12.3 s`, `1m 05s`, `2h 03m`, `3d 04h`."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for big, small, size in (("d", "h", 86400), ("h", "m", 3600), ("m", "s", 60)):
        if whole >= size:
            rest = (whole % size) // int(_UNITS[small])
            return f"{whole // size}{big} {rest:02d}{small}"
    return f"{whole} s"


def show_bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def show_gpus(gpus: Iterable[object]) -> str:
    """`[1× NVIDIA …]` as slugs: `2× nvidia-rtx-3090 + nvidia-a10`."""
    shown = [
        f"{count}× {kind}" if (count := getattr(gpu, "count", 1)) > 1 else str(kind)
        for gpu in gpus
        if (kind := getattr(gpu, "type", None))
    ]
    return " + ".join(shown) or "none"


def show_age(instant: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in the largest unit: `5s`, `3m`, `2h`, `4d`."""
    if instant is None:
        return "–"
    seconds = max(((now or datetime.now(UTC)) - instant).total_seconds(), 0)
    for unit, size in _UNITS.items():
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "0s"
