"""Ranges of files, asked for and sent, over every small case there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.resident.ranges import Span, Unsatisfiable, asked_span, sent_span

SIZES = st.integers(0, 1000)
CONTENT = bytes(range(256)) * 4


@given(SIZES, st.integers(0, 1200), st.integers(0, 1200))
def test_first_to_last_is_what_slicing_gives(size: int, first: int, last: int) -> None:
    header = f"bytes={first}-{last}"
    content = CONTENT[:size]

    if last < first:
        assert asked_span(header, size) is None
    elif first >= size:
        with pytest.raises(Unsatisfiable):
            asked_span(header, size)
    else:
        span = asked_span(header, size)
        assert span is not None
        assert content[span.start : span.stop] == content[first : last + 1]


@given(SIZES, st.integers(0, 1200))
def test_an_open_range_goes_to_the_end(size: int, first: int) -> None:
    if first >= size:
        with pytest.raises(Unsatisfiable):
            asked_span(f"bytes={first}-", size)
    else:
        assert asked_span(f"bytes={first}-", size) == Span(first, size)


@given(SIZES, st.integers(0, 1200))
def test_a_suffix_is_the_last_bytes_and_a_longer_one_is_all(size: int, last: int) -> None:
    if last == 0 or size == 0:
        with pytest.raises(Unsatisfiable):
            asked_span(f"bytes=-{last}", size)
    else:
        assert asked_span(f"bytes=-{last}", size) == Span(max(0, size - last), size)


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=1-2,5-6", f"bytes={'9' * 5000}-"],
)
def test_what_is_not_one_range_of_bytes_means_all(header: str | None) -> None:
    assert asked_span(header, 100) is None


@given(st.text(max_size=30), SIZES)
def test_no_header_makes_a_span_outside_the_file(header: str, size: int) -> None:
    try:
        span = asked_span(header, size)
    except Unsatisfiable:
        return

    assert span is None or 0 <= span.start < span.stop <= size


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_a_sent_range_is_read_back_as_it_was_written(first: int, last: int, total: int) -> None:
    sent = sent_span(f"bytes {first}-{last}/{total}")

    if first <= last < total:
        assert sent is not None
        assert (sent.span, sent.total) == (Span(first, last + 1), total)
        assert sent.span.content_range(total) == f"bytes {first}-{last}/{total}"
    else:
        assert sent is None


@pytest.mark.parametrize("header", ["", "bytes 0-9", "bytes 0-9/*", "bytes */10", "0-9/10", "bytes 0-9/10 x"])
def test_a_malformed_sent_range_is_none(header: str) -> None:
    assert sent_span(header) is None


def test_a_number_no_file_reaches_is_no_range_to_send() -> None:
    assert sent_span(f"bytes 0-4/{'9' * 5000}") is None
