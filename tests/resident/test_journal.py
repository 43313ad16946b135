"""The journal: what programs wrote comes back, byte for byte, to whoever reads, however it was cut."""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuyard.resident import records
from gpuyard.resident.journal import Journal, Reserve, repair

LARGE = 1 << 40

characters = st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
chunks = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.one_of(characters, st.binary(max_size=20))))


def parsed(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n") or not data
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def written(found: list[dict[str, Any]], stream: str) -> bytes:
    mine = [record for record in found if record["s"] == stream]
    return b"".join(r["d"].encode() if "d" in r else base64.b64decode(r["b64"]) for r in mine)


async def everything(journal: Journal, after: int = 0, *, follow: bool = False) -> bytes:
    return b"".join([piece async for piece in journal.read(after, follow=follow)])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.ndjson", LARGE)


@given(chunks)
@settings(deadline=None)
def test_any_bytes_in_any_cut_come_back_equal(written_chunks: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory(prefix="gy") as place:
        journal = Journal(Path(place) / "journal.ndjson", LARGE)

        for stream, data in written_chunks:
            journal.output(stream, data)
        journal.end(0, "")
        found = parsed(journal.path.read_bytes())
        journal.close()

        for stream in ("stdout", "stderr"):
            assert written(found, stream) == b"".join(data for name, data in written_chunks if name == stream)


@given(st.text(min_size=1), st.data())
@settings(deadline=None)
def test_text_stays_text_however_its_bytes_are_cut(text: str, data: st.DataObject) -> None:
    raw = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=5)))
    with tempfile.TemporaryDirectory(prefix="gy") as place:
        journal = Journal(Path(place) / "journal.ndjson", LARGE)

        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            journal.output("stdout", raw[start:end])
        journal.end(0, "")
        found = parsed(journal.path.read_bytes())
        journal.close()

        assert all("b64" not in record for record in found)
        assert written(found, "stdout") == raw


@given(chunks, st.data())
@settings(deadline=None)
def test_a_reader_that_is_cut_off_anywhere_and_resumes_has_every_byte_once(
    written_chunks: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory(prefix="gy") as place:
        journal = Journal(Path(place) / "journal.ndjson", LARGE, clock=lambda: 1.5)  # same input, same length
        for stream, chunk in written_chunks:
            journal.output(stream, chunk)
        journal.end(0, "")
        cut = data.draw(st.integers(0, journal.size))

        first = journal.path.read_bytes()[:cut]
        rest = asyncio.run(everything(journal, cut))
        journal.close()

        assert first + rest == journal.path.read_bytes()


@given(st.binary(min_size=1), st.integers(1, 3))
def test_no_piece_is_cut_inside_a_character(data: bytes, repeat: int) -> None:
    long = ("€" * records.TEXT_LIMIT).encode() * repeat + data

    pieces = list(records.pieces(long))

    assert b"".join(pieces) == long
    assert all(0 < len(piece) <= records.TEXT_LIMIT for piece in pieces)
    assert all(records.unfinished(piece) == 0 for piece in pieces[:-1])


@pytest.mark.parametrize(
    "text", ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb", "a\x1cb", "a\x1eb", "a\rb", "é\u2028"]
)
def test_a_record_is_one_line_to_every_reader(text: str) -> None:
    line = records.output(0.0, "stdout", text.encode()).decode()

    assert len(line.splitlines()) == 1
    assert json.loads(line)["d"] == text


def test_half_a_surrogate_pair_from_a_kernel_does_not_break_the_journal(journal: Journal) -> None:
    journal.text("stdout", "a\ud800b")
    journal.rich("result", text="\udfff", data={})
    journal.end(0, "")

    found = parsed(journal.path.read_bytes())

    assert [record["s"] for record in found] == ["stdout", "result", "exit"]


async def test_a_follower_sees_what_is_written_later_and_ends_with_the_journal(journal: Journal) -> None:
    following = asyncio.create_task(everything(journal, follow=True))
    for n in range(10):
        await asyncio.sleep(0)
        journal.output("stdout", f"{n}\n".encode())
    journal.end(0, "")

    seen = await following

    assert seen == journal.path.read_bytes()


async def test_a_hundred_followers_see_the_same(journal: Journal) -> None:
    following = [asyncio.create_task(everything(journal, follow=True)) for _ in range(100)]
    for n in range(50):
        journal.output("stdout", b"x" * n)
        await asyncio.sleep(0)
    journal.end(0, "")

    seen = await asyncio.gather(*following)

    assert set(seen) == {journal.path.read_bytes()}


def test_a_full_journal_says_how_much_it_left_out_and_still_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.ndjson", 10_000)

    for _ in range(100):
        journal.output("stdout", b"x" * 1000)
    journal.end(7, "")
    found = parsed(journal.path.read_bytes())

    kept = len(written(found, "stdout"))
    assert [record["s"] for record in found[-2:]] == ["elided", "exit"]
    assert kept + found[-2]["bytes"] == 100_000
    assert found[-1]["code"] == 7
    assert journal.path.stat().st_size < 11_000


def test_an_error_is_told_even_when_the_journal_is_full(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.ndjson", 100)
    journal.output("stdout", b"x" * 1000)

    journal.record("error", ename="E", evalue="v", traceback="t")

    assert [record["s"] for record in parsed(journal.path.read_bytes())] == ["error"]


def test_nothing_follows_the_exit(journal: Journal) -> None:
    journal.end(0, "")

    journal.output("stdout", b"late")
    journal.record("error", ename="E", evalue="", traceback="")
    journal.end(1, "killed")

    found = parsed(journal.path.read_bytes())
    assert [(record["s"], record.get("code")) for record in found] == [("exit", 0)]


@pytest.mark.parametrize("torn", [b"{", b'{"t":1,"s":"stdout","d":"ha', b'{"t":1}\n', b"\0" * 500, b"\0" * 500 + b"\n"])
def test_a_torn_end_is_cut_off_and_the_rest_stays(journal: Journal, torn: bytes) -> None:
    journal.output("stdout", b"one\n")
    journal.output("stdout", b"x" * 200_000)
    journal.close()
    whole = journal.path.read_bytes()
    with journal.path.open("ab") as file:
        file.write(torn)

    last = repair(journal.path)

    assert journal.path.read_bytes() == whole
    assert last is not None
    assert last["s"] == "stdout"


def test_a_journal_of_nothing_but_a_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.ndjson"
    path.write_bytes(b'{"t":1,"s":')

    last = repair(path)

    assert last is None
    assert path.read_bytes() == b""


def test_the_reserve_is_given_up_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")

    assert reserve.take()
    assert not reserve.take()
