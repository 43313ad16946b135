"""The way to a resident: whole records, errors of ours, no connection left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpuyard.domain.errors import (
    IllegalMove,
    InstanceUnreachable,
    Invalid,
    NotFound,
    StorageFull,
    TooLarge,
    YardError,
)
from gpuyard.domain.executions import Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import AccountId, ExecutionId, InstanceId
from gpuyard.domain.sightings import Reach
from gpuyard.ports.residents import Resident
from gpuyard.reach import HttpResidents
from gpuyard.resident.wire import SECRET_HEADER
from tests.reach.peer import Peer, a_peer, answer, begin_chunks, chunk

ID = InstanceId("inst_1")
EXECUTION = ExecutionId("exec_1")


@pytest.fixture
async def residents() -> AsyncIterator[HttpResidents]:
    kept = HttpResidents()
    yield kept
    await kept.close()


def at(residents: HttpResidents, peer: Peer) -> Resident:
    return residents.at(ID, Reach(socket=peer.socket), "the-secret")


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def _refuse(status: str, error: dict[str, object], writer: asyncio.StreamWriter) -> None:
    await answer(writer, json.dumps({"error": error}).encode(), status)


async def test_every_request_shows_the_instances_secret(residents: HttpResidents) -> None:
    async def samples(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b'{"active_at": 1700000000.5}')

    async with a_peer(samples) as peer:
        told = await at(residents, peer).samples()

    assert told.active_at == datetime.fromtimestamp(1700000000.5, UTC)
    assert f"{SECRET_HEADER}: the-secret".lower() in peer.heads[0].lower()


async def test_connections_are_kept_and_used_again(residents: HttpResidents) -> None:
    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"{}")

    async with a_peer(empty) as peer:
        for _ in range(5):
            await at(residents, peer).samples()

        assert (peer.open, len(peer.heads)) == (1, 5)
        await residents.forget(ID)
        await eventually(lambda: peer.open == 0)


async def test_nobody_listening_is_an_unreachable_instance(residents: HttpResidents) -> None:
    resident = residents.at(ID, Reach(socket="/nowhere/at/all"), "s")

    with pytest.raises(InstanceUnreachable):
        await resident.samples()
    with pytest.raises(InstanceUnreachable):
        await resident.websocket("/terminals/t")
    assert not await resident.healthy()


async def test_a_proxy_of_the_environment_is_never_asked(
    residents: HttpResidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer, b'{"ok": true, "protocol": 1}')
        writer.close()

    async with await asyncio.start_server(hello, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        assert await residents.at(ID, Reach(url=f"http://127.0.0.1:{port}"), "s").healthy()


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"ok": true, "protocol": 99}'])
async def test_only_a_resident_of_our_protocol_is_healthy(residents: HttpResidents, body: bytes) -> None:
    async def other(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, body)

    async with a_peer(other) as peer:
        assert not await at(residents, peer).healthy()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("404 Not Found", "not_found", NotFound),
        ("409 Conflict", "illegal_state", IllegalMove),
        ("422 Unprocessable", "invalid_request", Invalid),
        ("507 Insufficient Storage", "storage_full", StorageFull),
        ("401 Unauthorized", "unauthenticated", InstanceUnreachable),
        ("500 Internal Server Error", "internal", InstanceUnreachable),
        ("418 Teapot", "never_heard_of", InstanceUnreachable),
    ],
)
async def test_a_refusal_becomes_the_error_of_the_same_code(
    residents: HttpResidents, status: str, code: str, error: type[Exception]
) -> None:
    async def refuse(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await _refuse(status, {"code": code, "message": "because"}, writer)

    async with a_peer(refuse) as peer:
        with pytest.raises(error, match="because") as raised:
            await at(residents, peer).samples()

    assert type(raised.value) is error


async def test_a_journal_is_passed_on_in_whole_records(residents: HttpResidents) -> None:
    pieces = [b'{"a":', b'1}\n{"b":2}', b"\n", b'{"c":3}\n{"torn":']

    async def journal(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await begin_chunks(writer)
        for piece in pieces:
            await chunk(writer, piece)
        await chunk(writer, b"")

    async with a_peer(journal) as peer:
        got = [data async for data in at(residents, peer).journal(EXECUTION, after=7)]

    assert b"".join(got) == b'{"a":1}\n{"b":2}\n{"c":3}\n'
    assert all(data.endswith(b"\n") for data in got)
    assert "/executions/exec_1/journal?after=7&follow=true" in peer.heads[0]


async def test_a_journal_that_is_cut_gives_what_was_whole_and_then_says_so(residents: HttpResidents) -> None:
    async def cut(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await begin_chunks(writer)
        await chunk(writer, b'{"a":1}\n{"to')
        raise ConnectionResetError

    async with a_peer(cut) as peer:
        got = []
        with pytest.raises(InstanceUnreachable):
            async for data in at(residents, peer).journal(EXECUTION, after=0):
                got.append(data)

    assert got == [b'{"a":1}\n']


async def test_a_reader_that_gives_up_leaves_no_connection(residents: HttpResidents) -> None:
    async def silent(peer: Peer, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begin_chunks(writer)
        await reader.read()
        raise ConnectionResetError

    async with a_peer(silent) as peer:

        async def follow() -> None:
            async for _ in at(residents, peer).journal(EXECUTION, after=0):
                pass

        followers = [asyncio.create_task(follow()) for _ in range(20)]
        await eventually(lambda: peer.open == 20)
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

        await eventually(lambda: peer.open == 0)


async def test_one_silent_stream_does_not_keep_others_waiting(residents: HttpResidents) -> None:
    async def behaves(peer: Peer, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "/journal" in head:
            await begin_chunks(writer)
            await reader.read()
        await answer(writer, b"{}")

    async with a_peer(behaves) as peer:
        resident = at(residents, peer)

        async def follow() -> None:
            async for _ in resident.journal(EXECUTION, after=0):
                pass

        followers = [asyncio.create_task(follow()) for _ in range(200)]
        await eventually(lambda: peer.open == 200)

        await resident.samples()
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)


async def test_a_resident_that_moved_is_found_at_its_new_place(residents: HttpResidents) -> None:
    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"{}")

    async with a_peer(empty) as old, a_peer(empty) as new:
        await at(residents, old).samples()
        await at(residents, new).samples()

        assert len(new.heads) == 1
        await eventually(lambda: old.open == 0)


async def test_addresses_go_onto_the_wire_as_they_are_given(residents: HttpResidents) -> None:
    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"")

    async with (
        a_peer(empty) as peer,
        at(residents, peer).request("GET", "/files/a%2Fb%20c/../../x", query="q=%41&q=b") as reply,
    ):
        assert [data async for data in reply.body] == []

    assert peer.heads[0].startswith("GET /files/a%2Fb%20c/%2E%2E/%2E%2E/x?q=%41&q=b HTTP/1.1")


async def test_headers_are_the_callers_own(residents: HttpResidents) -> None:
    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"")

    async with (
        a_peer(empty) as peer,
        at(residents, peer).request("GET", "/x", headers={"Host": "yard.example", "X-A": "1"}),
    ):
        pass

    names = {line.partition(":")[0].lower() for line in peer.heads[0].splitlines()[1:] if line}
    assert names == {"host", "x-a", SECRET_HEADER.lower()}
    assert "host: yard.example" in peer.heads[0].lower()


async def test_an_order_says_what_the_execution_is(residents: HttpResidents) -> None:
    bodies = []

    async def take(peer: Peer, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
        bodies.append(json.loads(await reader.readexactly(int(length.partition(":")[2]))))
        await answer(writer, b"{}", "201 Created")

    now = datetime.now(UTC)
    execution = Execution(
        EXECUTION,
        AccountId("acct_1"),
        ID,
        ExecutionKind.ARGV,
        ExecutionState.ACCEPTED,
        now,
        argv=("ls", "-l"),
        env={"A": "b"},
    )
    async with a_peer(take) as peer:
        await at(residents, peer).execute(execution)

    assert peer.heads[0].startswith("PUT /executions/exec_1 ")
    assert (bodies[0]["kind"], bodies[0]["argv"], bodies[0]["env"]) == ("argv", ["ls", "-l"], {"A": "b"})


async def test_a_link_in_the_place_of_a_residents_socket_leads_nowhere(
    residents: HttpResidents, tmp_path: Path
) -> None:
    """Programs of an instance can put one there, to any socket of the machine the server runs on."""

    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"{}")

    async with a_peer(empty) as peer:
        link = tmp_path / "s"
        link.symlink_to(peer.socket)
        misled = residents.at(ID, Reach(socket=str(link)), "the-secret")

        with pytest.raises(InstanceUnreachable):
            await misled.samples()
        with pytest.raises(InstanceUnreachable):
            await misled.websocket("/terminals/t")
        assert peer.heads == []


@pytest.mark.parametrize(
    "told", [b"[]", b"{", b'{"active_at": 1e300}', b'{"active_at": "never"}', b"[" * 100_000], ids=lambda told: told[:9]
)
async def test_nonsense_from_a_resident_is_an_unreachable_instance(residents: HttpResidents, told: bytes) -> None:
    async def nonsense(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, told)

    async with a_peer(nonsense) as peer:
        with pytest.raises(InstanceUnreachable):
            await at(residents, peer).samples()
        assert not await at(residents, peer).healthy()


async def test_an_answer_without_an_end_does_not_fill_the_memory(residents: HttpResidents) -> None:
    sent = 0

    async def endless(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await begin_chunks(writer)
        for _ in range(200):
            await chunk(writer, b" " * 1_000_000)
            sent += 1

    async with a_peer(endless) as peer:
        with pytest.raises(InstanceUnreachable):
            await at(residents, peer).samples()
        assert sent < 100


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("409 Conflict", "illegal_state", IllegalMove),
        ("413 Content Too Large", "too_large", TooLarge),
        ("404 Not Found", "not_found", NotFound),
        ("500 Internal Server Error", "internal", InstanceUnreachable),
    ],
)
async def test_input_that_is_not_taken_is_not_lost_in_silence(
    residents: HttpResidents, status: str, code: str, error: type[YardError]
) -> None:
    async def refuse(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await _refuse(status, {"code": code, "message": "no"}, writer)

    async def typed() -> AsyncIterator[bytes]:
        yield b"hello"

    async with a_peer(refuse) as peer:
        with pytest.raises(error):
            await at(residents, peer).feed(EXECUTION, typed(), eof=True)
    assert "POST /executions/exec_1/stdin?eof=true " in peer.heads[0]


async def test_a_secret_that_a_visitor_sends_along_stays_here(residents: HttpResidents) -> None:
    async def empty(peer: Peer, head: str, reader: object, writer: asyncio.StreamWriter) -> None:
        await answer(writer, b"{}")

    headers = {SECRET_HEADER.lower(): "guessed"}
    async with a_peer(empty) as peer, at(residents, peer).request("GET", "/files/", headers=headers) as reply:
        assert reply.status == 200

    assert "guessed" not in peer.heads[0]
    assert peer.heads[0].lower().count(SECRET_HEADER.lower()) == 1
