"""Every byte once, wherever a connection breaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpuyard.sdk.core import EventReader, RetryPolicy, ServerEvent
from tests.sdk.manners import open_client
from tests.sdk.scripted import INSTANCE, KEY, Answer, Asked, scripted, told

QUICK = RetryPolicy(first_seconds=0.001, most_seconds=0.002)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def as_event(number: int, data: str, end: str = "\n") -> str:
    lines = "".join(f"data: {line}{end}" for line in data.split("\n"))
    return f": a comment{end}id: {number}{end}{lines}{end}"


@given(
    texts=st.lists(st.text("abc:ü \t", min_size=1, max_size=20), max_size=8),
    cuts=st.lists(st.integers(0, 500), max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_events_are_the_same_however_the_stream_is_cut(texts: list[str], cuts: list[int], end: str) -> None:
    stream = "".join(as_event(number, text, end) for number, text in enumerate(texts)).encode()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = EventReader()

    events = [event for start, stop in pairwise(places) for event in reader.feed(stream[start:stop])]

    assert events == [ServerEvent(str(number), "message", text.encode()) for number, text in enumerate(texts)]


@given(texts=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=5), cut=st.integers(0, 200))
def test_an_event_that_was_cut_off_is_not_given(texts: list[str], cut: int) -> None:
    stream = "".join(as_event(number, text) for number, text in enumerate(texts)).encode()

    whole = EventReader().feed(stream[:cut])

    assert len(whole) == stream[:cut].count(b"\n\n")


def test_several_lines_of_data_are_one_event() -> None:
    assert EventReader().feed(b"event: x\ndata: a\ndata: b\n\n") == [ServerEvent("", "x", b"a\nb")]


EXECUTION = {
    "id": "exec_1",
    "instance_id": "inst_1",
    "kind": "shell",
    "state": "running",
    "created_at": "2026-03-01T09:00:00Z",
}


class Journal:
    """Serves the records of an execution, breaking each connection where it is told."""

    def __init__(self, texts: Sequence[str], cuts: Sequence[int]) -> None:
        records: list[dict[str, Any]] = [{"t": 1.0, "s": "stdout", "d": text} for text in texts]
        records.append({"t": 2.0, "s": "exit", "code": 0, "reason": ""})
        self._records: list[tuple[int, str]] = []
        offset = 0
        for record in records:
            line = json.dumps(record)
            offset += len(line) + 1
            self._records.append((offset, line))
        self._cuts = list(cuts)

    def __call__(self, asked: Asked) -> Answer:
        if not asked.path.endswith("/output"):
            return told(EXECUTION if "/executions/" in asked.path else INSTANCE)
        after = int(asked.query["after"][0])
        body = "".join(as_event(offset, line) for offset, line in self._records if offset > after).encode()
        cut_at = self._cuts.pop(0) if self._cuts else None
        return Answer(200, body, {"Content-Type": "text/event-stream"}, cut_at=cut_at)


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(TEXT, max_size=6), cuts=st.lists(st.integers(0, 900), max_size=5))
async def test_output_comes_once_and_whole_across_cuts(texts: list[str], cuts: list[int]) -> None:
    for manner in ("sync", "async"):
        with scripted(Journal(texts, cuts)) as yard:
            async with open_client(manner, yard.url, KEY, retries=QUICK) as client:
                execution = await execution_of(client)
                heard: list[str] = []

                result = await execution.wait(on_stdout=heard.append)

        assert result.stdout == "".join(texts)
        assert heard == texts
        assert (result.exit_code, result.ok, execution.ended) == (0, True, True)


async def test_a_stream_that_ends_early_is_not_the_end(manner: str) -> None:
    journal = Journal(["one", "two"], [])
    empty = [Answer(200, b": here\n\n", {"Content-Type": "text/event-stream"}) for _ in range(3)]

    def answer(asked: Asked) -> Answer:
        return empty.pop() if asked.path.endswith("/output") and empty else journal(asked)

    with scripted(answer) as yard:
        async with open_client(manner, yard.url, KEY, retries=QUICK) as client:
            result = await (await execution_of(client)).wait()

    assert result.stdout == "onetwo"


async def test_an_execution_lost_with_its_instance_ends(manner: str) -> None:
    partial = as_event(10, json.dumps({"t": 1.0, "s": "stdout", "d": "half"})).encode()
    states = iter(["running", "running"])

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/output"):
            fresh = asked.query["after"] == ["0"]
            return Answer(200, partial if fresh else b"", {"Content-Type": "text/event-stream"})
        if "/executions/" not in asked.path:
            return told(INSTANCE)
        return told({**EXECUTION, "state": next(states, "lost"), "reason": "the instance ended"})

    with scripted(answer) as yard:
        async with open_client(manner, yard.url, KEY, retries=QUICK) as client:
            result = await (await execution_of(client)).wait()

    assert (result.stdout, result.exit_code, result.reason, result.ok) == ("half", None, "the instance ended", False)


async def execution_of(client: Any) -> Any:
    """Of an instance that is all the same to the scripted server."""
    return await (await client.instances.get("inst_1")).execution("exec_1")
