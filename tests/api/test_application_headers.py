"""An application speaks for its own path, never for the origin that all instances share."""

from __future__ import annotations

import pytest

from gpuyard.api.applications.headers import SPEAK_FOR_THE_ORIGIN, cookie_within, outward

HOME = "/i/0123abcd/"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a=b", "a=b"),
        ("a=b; Path=/i/0123abcd/; HttpOnly", "a=b; Path=/i/0123abcd/; HttpOnly"),
        ("a=b; Path=/i/0123abcd", "a=b; Path=/i/0123abcd"),
        ("a=b; Path=/i/0123abcd/port/80; Secure", "a=b; Path=/i/0123abcd/port/80; Secure"),
        ("a=b; Path=/; Max-Age=5", "a=b; Path=/i/0123abcd/; Max-Age=5"),
        ("a=b; path=/i/ffffffff/", "a=b; Path=/i/0123abcd/"),
        ("a=b; PATH =/i/0123abcde; Path=/", "a=b; Path=/i/0123abcd/; Path=/i/0123abcd/"),
        ("a=b; Path", "a=b; Path=/i/0123abcd/"),
        ("a=b; Domain=example.org; SameSite=None", "a=b; SameSite=None"),
        ("gpuyard_visit_not=1", "gpuyard_visit_not=1"),
    ],
)
def test_a_cookie_stays_below_its_instance(sent: str, kept: str) -> None:
    assert cookie_within(sent, HOME) == kept


@pytest.mark.parametrize(
    "sent", ["gpuyard_visit=x", " gpuyard_visit =x; Path=/", "=gpuyard_visit=x", "gpuyard_visit", ""]
)
def test_a_cookie_that_could_pass_for_ours_goes_nowhere(sent: str) -> None:
    assert cookie_within(sent, HOME) is None


def test_no_header_speaks_for_the_whole_origin() -> None:
    sent = [(name.title(), "x") for name in SPEAK_FOR_THE_ORIGIN]

    kept = outward([*sent, ("Content-Type", "text/html"), ("Cache-Control", "max-age=5"), ("Date", "then")], HOME)

    assert kept == [(b"content-type", b"text/html"), (b"cache-control", b"max-age=5")]


def test_every_cookie_is_judged_and_kept() -> None:
    kept = outward([("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "gpuyard_visit=x"), ("Set-Cookie", "b=2")], HOME)

    assert [value for name, value in kept if name == b"set-cookie"] == [b"a=1; Path=/i/0123abcd/", b"b=2"]


def test_what_says_nothing_of_caches_is_kept_out_of_shared_ones() -> None:
    assert outward([], HOME) == [(b"cache-control", b"private")]
