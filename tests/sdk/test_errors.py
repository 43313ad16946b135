"""Every code of the yard is a class here, and reads well."""

from __future__ import annotations

import json

import pytest

from gpuyard.domain.errors import error_classes
from gpuyard.sdk import core, errors


def test_every_code_of_the_yard_has_a_class_of_the_same_name() -> None:
    ours = {cls.code: cls.__name__ for cls in error_classes() if cls.code != "internal"}

    assert {code: errors.BY_CODE[code].__name__ for code in ours} == ours


def test_what_inherits_in_the_yard_inherits_here() -> None:
    for cls in error_classes():
        for parent in cls.__mro__[1:]:
            if parent.__name__ in vars(errors) and cls.code != "internal":
                assert issubclass(errors.BY_CODE[cls.code], vars(errors)[parent.__name__])


def test_the_tree_at_the_top_of_the_module_names_every_class_and_code() -> None:
    drawn = errors.__doc__ or ""

    for code, cls in errors.BY_CODE.items():
        assert cls.__name__ in drawn and code in drawn


def test_an_answer_becomes_its_error_with_all_it_says() -> None:
    told = {
        "code": "no_capacity",
        "message": "not free now",
        "field": "gpus",
        "hint": "wait",
        "details": {"unavailable": [{"type": "a", "asked": 2, "free": 1}], "available": [{"type": "b"}]},
        "request_id": "req_1",
    }

    error = core.error_of(409, {}, json.dumps({"error": told}).encode())

    assert isinstance(error, errors.NoCapacity)
    assert (error.field, error.request_id, error.status) == ("gpus", "req_1", 409)
    assert error.unavailable == [{"type": "a", "asked": 2, "free": 1}]
    assert error.available == [{"type": "b"}]
    assert str(error) == "not free now (wait)"


def test_an_error_is_one_line() -> None:
    assert str(errors.Invalid("first\nsecond", hint="do\nthis")) == "first second (do this)"


def test_a_code_of_a_newer_yard_is_kept() -> None:
    error = core.error_of(418, {}, b'{"error": {"code": "teapot", "message": "short and stout"}}')

    assert type(error) is errors.YardError
    assert error.code == "teapot"


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad Gateway</html>", b"[]", b'{"error": 3}', b'{"detail": "x"}', b"\xff"]
)
def test_an_answer_that_is_not_of_a_yard_is_an_error_all_the_same(body: bytes) -> None:
    assert isinstance(core.error_of(502, {}, body), errors.ServerFailed)
    assert isinstance(core.error_of(404, {}, body), errors.NotFound)


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), ("", None)])
def test_retry_after_is_read_from_the_header(header: str, seconds: float | None) -> None:
    error = core.error_of(429, {"retry-after": header}, b"slow down")

    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == seconds
