"""From what people write (`gpu="rtx-4090"`, `max_cost="5.00"`, `max_duration=timedelta(hours=2)`) to request bodies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from gpuyard.sdk.errors import Invalid

Gpus = Iterable["str | tuple[str, int] | Mapping[str, Any]"] | Mapping[str, int]
"""`["rtx-4090", ("a100-80", 2), {"type": "h100", "count": 1}]` or `{"rtx-4090": 1, "a100-80": 2}`."""
Amount = str | int | float | Decimal
"""In whole units of the yard's currency: `"5.00"` is five euros."""
Duration = float | timedelta
"""Seconds, or a timedelta."""


def gpu_counts(gpu: str | None, count: int, gpus: Gpus | None) -> list[dict[str, Any]]:
    if gpus is None:
        return [] if gpu is None else [{"type": gpu, "count": count}]
    if gpu is not None:
        raise Invalid("gpu= and gpus= were both given", field="gpus", hint="one type: gpu=; several: gpus=[…]")
    if isinstance(gpus, Mapping):
        return [{"type": kind, "count": number} for kind, number in gpus.items()]
    if isinstance(gpus, str):
        return [{"type": gpus, "count": count}]
    return [_gpu_count(one) for one in gpus]


def _gpu_count(one: str | tuple[str, int] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(one, str):
        return {"type": one, "count": 1}
    if isinstance(one, tuple):
        return {"type": one[0], "count": one[1]}
    return dict(one)


def micro(amount: Amount | None, field: str) -> int | None:
    """`"1.25"` → 1250000. Raises Invalid for what is no amount, negative, or finer than a millionth."""
    if amount is None:
        return None
    from gpuyard.domain import errors, money

    try:
        return money.parse_micro(amount, field=field)
    except errors.Invalid as wrong:
        raise Invalid(wrong.message, field=wrong.field, hint=wrong.hint) from None


def signed_micro(amount: Amount, field: str) -> int:
    text = str(amount).strip()
    negative = text.startswith("-")
    found = micro(text.removeprefix("-"), field) or 0
    return -found if negative else found


def seconds(duration: Duration | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def limits(
    max_cost: Amount | None,
    max_cost_micro: int | None,
    max_duration: Duration | None,
    max_idle: Duration | None,
    max_start: Duration | None,
) -> dict[str, Any]:
    if max_cost is not None and max_cost_micro is not None:
        raise Invalid("max_cost= and max_cost_micro= were both given", field="max_cost", hint="give one of them")
    return given(
        max_cost_micro=micro(max_cost, "max_cost") if max_cost_micro is None else max_cost_micro,
        max_duration_seconds=seconds(max_duration),
        max_idle_seconds=seconds(max_idle),
        max_start_seconds=seconds(max_start),
    )


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given: what is left out is the yard's to decide."""
    return {name: value for name, value in fields.items() if value is not None}


_LIMITS = {
    "max_cost": "max_cost_micro",
    "max_duration": "max_duration_seconds",
    "max_idle": "max_idle_seconds",
    "max_start": "max_start_seconds",
}


def lifted(names: Iterable[str]) -> dict[str, None]:
    """A limit given as null is taken away."""
    unknown = sorted(set(names) - set(_LIMITS))
    if unknown:
        raise Invalid(f"{unknown[0]!r} is not a limit", field="lift", hint=f"one of {', '.join(_LIMITS)}")
    return {_LIMITS[name]: None for name in names}
