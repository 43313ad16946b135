"""A function travels with all it needs or not at all; a value comes back as it is."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpuyard.sdk import shipping
from gpuyard.sdk.errors import Invalid, NotFound, RemoteError

OUTSIDE = 3


def carried_out(parcel: shipping.Parcel, namespace: dict[str, Any], tmp_path: Path) -> Any:
    """As an interpreter in an instance does it, with its /tmp elsewhere."""
    outcome = tmp_path / "outcome"
    value = tmp_path / "value"
    value.write_bytes(parcel.value)
    code = parcel.code.replace(parcel.outcome_path, str(outcome))
    if parcel.value_path is not None:
        code = code.replace(parcel.value_path, str(value))
    exec(code, namespace)
    return shipping.unpacked(outcome.read_bytes(), "it")


@pytest.mark.parametrize(
    "value", [None, 1, "naïve", [1, {"a": (2, 3)}], b"\0" * 10, b"x" * (shipping.INLINE_BYTES + 1)]
)
def test_a_value_goes_there_and_comes_back(value: object, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}

    carried_out(shipping.setting("it", value), namespace, tmp_path)

    assert carried_out(shipping.getting("it"), namespace, tmp_path) == value
    assert set(namespace) == {"it", "__builtins__"}


def test_a_variable_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'it'"):
        carried_out(shipping.getting("it"), {}, tmp_path)


def test_a_value_that_cannot_travel_says_so(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="cannot be pickled"):
        carried_out(shipping.getting("it"), {"it": lambda: 0}, tmp_path)
    with pytest.raises(Invalid, match="cannot be pickled"):
        shipping.setting("it", lambda: 0)


@pytest.mark.parametrize("name", ["", "1a", "a b", "class", "a.b", "a;import os"])
def test_only_a_variable_can_be_set(name: str) -> None:
    with pytest.raises(Invalid, match="variable"):
        shipping.setting(name, 1)


def called(function: Callable[..., Any], tmp_path: Path, *args: object, **kwargs: object) -> Any:
    return carried_out(shipping.calling(shipping.function_of(function), args, kwargs), {}, tmp_path)


def alone(a: int, *more: int, times: int = 2) -> list[int]:
    """With a docstring, imports, comprehensions, nested functions, recursion and a class."""
    import math as m
    from os import path as p

    class Thing:
        size: Unknown = 1  # type: ignore[name-defined] # noqa: F821

        def doubled(self) -> int:
            return self.size * 2

    def inner(n: int) -> int:
        return n if n <= 0 else inner(n - 1) + times

    assert p.sep
    try:
        raise ValueError("no")
    except ValueError as error:
        last = str(error)
    return [m.floor(x * times) for x in (a, *more)] + [inner(a), Thing().doubled(), len(last), len([*map(int, "12")])]


def test_a_function_that_stands_alone_runs_elsewhere(tmp_path: Path) -> None:
    assert called(alone, tmp_path, 1, 2, times=3) == [3, 6, 3, 2, 2, 2]


def test_decorators_stay_here(tmp_path: Path) -> None:
    def twice(function: Callable[[int], int]) -> Callable[[int], int]:
        import functools

        @functools.wraps(function)
        def both(x: int) -> int:
            return function(x) * 2

        return both

    @twice
    def plain(x: int) -> int:
        return x + 1

    assert plain(1) == 4
    assert called(plain, tmp_path, 1) == 2


def uses_global() -> int:
    return OUTSIDE + len(linecache.__name__)


def uses_default(x: int = OUTSIDE) -> int:
    return x


def makes_global() -> int:
    global MADE  # noqa: PLW0603
    MADE = 1
    return MADE


def uses_in_comprehension() -> list[int]:
    return [OUTSIDE for _ in range(2)]


def test_what_a_function_takes_from_outside_is_named() -> None:
    captured = 1

    def closes_over() -> int:
        return captured

    expected: list[tuple[Callable[..., object], list[str]]] = [
        (uses_global, ["OUTSIDE", "linecache"]),
        (uses_default, ["OUTSIDE"]),
        (uses_in_comprehension, ["OUTSIDE"]),
        (closes_over, ["captured"]),
    ]
    for function, names in expected:
        with pytest.raises(Invalid) as caught:
            shipping.function_of(function)
        assert caught.value.details["captured"] == names


def test_a_global_of_its_own_is_its_own(tmp_path: Path) -> None:
    assert called(makes_global, tmp_path) == 1


def test_what_has_no_source_of_its_own_is_refused() -> None:
    async def later() -> None: ...

    namespace: dict[str, Any] = {}
    exec("def typed_in(): return 1", namespace)
    for function in (lambda: 1, len, later, namespace["typed_in"]):
        with pytest.raises(Invalid):
            shipping.function_of(function)


def test_what_it_raises_comes_back_with_the_line_it_was_raised_on(tmp_path: Path) -> None:
    def fails() -> None:
        raise ValueError("not today")

    with pytest.raises(RemoteError) as caught:
        called(fails, tmp_path)

    assert str(caught.value) == "ValueError: not today"
    assert caught.value.kind == "ValueError"
    line = fails.__code__.co_firstlineno + 1
    assert f'test_shipping.py", line {line}, in fails' in caught.value.remote_traceback
    assert 'raise ValueError("not today")' in caught.value.remote_traceback
    assert "not today" in "".join(caught.value.__notes__)


def test_leaving_is_an_error_too(tmp_path: Path) -> None:
    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(RemoteError, match="SystemExit: 3"):
        called(leaves, tmp_path)


def test_a_missing_package_comes_with_the_remedy(tmp_path: Path) -> None:
    def needs() -> None:
        import no_such_package  # type: ignore[import-not-found] # noqa: F401

    with pytest.raises(RemoteError, match="pip install"):
        called(needs, tmp_path)


def test_an_outcome_that_cannot_be_read_here_says_so() -> None:
    with pytest.raises(RemoteError, match="both sides"):
        shipping.unpacked(b"not a pickle", "it")
