"""Money: integers of millionths of the yard's currency, and what time costs."""

from __future__ import annotations

from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from gpuyard.domain.errors import Invalid

MICRO = 1_000_000
_HOUR_US = 3_600_000_000
_CENTURY_US = 36_525 * 24 * _HOUR_US
"""Beyond it, adding to an instant would run out of calendar."""


def cost_micro(price_per_hour_micro: int, duration: timedelta) -> int:
    """What `duration` costs, rounded down: a yard never charges for time that was not used.

    Only ever applied to a whole interval, so that charging it in pieces adds up to the same sum.
    """
    microseconds = duration // timedelta(microseconds=1)
    return price_per_hour_micro * max(microseconds, 0) // _HOUR_US


def lasts_for(price_per_hour_micro: int, budget_micro: int) -> timedelta | None:
    """How long `budget_micro` pays for; None for ever: a price of zero, or more than a hundred years.

    Negative for a budget that is overspent: that long ago it was not.
    """
    if price_per_hour_micro <= 0 or budget_micro * _HOUR_US >= price_per_hour_micro * _CENTURY_US:
        return None
    return timedelta(microseconds=budget_micro * _HOUR_US // price_per_hour_micro)


def parse_micro(text: str | int | float | Decimal, *, field: str) -> int:
    """`"1.25"` → 1250000. Raises Invalid for what is no number, negative, or finer than a millionth."""
    try:
        amount = Decimal(str(text))
    except InvalidOperation:
        raise Invalid(f"{field} is not an amount: {text!r}", field=field, hint="write 1.25") from None
    scaled = amount * MICRO
    if not amount.is_finite() or amount < 0 or scaled != scaled.to_integral_value():
        raise Invalid(
            f"{field} is not a possible amount: {text!r}",
            field=field,
            hint="an amount of zero or more, with at most six decimals",
        )
    return int(scaled)


def show_micro(amount_micro: int, currency: str, *, places: int = 4) -> str:
    """`1250000, "EUR"` → `1.2500 EUR`."""
    exact = Decimal(amount_micro) / MICRO
    return f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)} {currency}"
