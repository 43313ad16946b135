"""Applications are real programs behind a real resident, asked over HTTP and WebSocket through its proxy."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect

from tests.resident.running import SECRET, RunningResident, until

PROGRAM = """
import asyncio, hashlib, sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
import uvicorn

left = asyncio.Event()

async def echo(request):
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    headers = [[name.decode(), value.decode()] for name, value in request.headers.raw]
    return JSONResponse({"method": request.method, "raw_path": request.scope["raw_path"].decode(),
                         "query": request.scope["query_string"].decode(), "headers": headers,
                         "size": size, "sha256": digest.hexdigest()}, headers={"X-From": "program"})

async def first_then_wait(request):
    async def pieces():
        try:
            yield b"first"
            await asyncio.sleep(600)
        finally:
            left.set()
    return StreamingResponse(pieces())

async def somebody_left(request):
    await left.wait()
    return Response("yes")

async def large(request):
    async def pieces():
        for _ in range(256):
            yield bytes(1024 * 1024)
    return StreamingResponse(pieces())

async def talk(websocket):
    names = websocket.scope["subprotocols"]
    if "refuse" in names:
        await websocket.close()
        return
    await websocket.accept(subprotocol=names[-1] if names else None)
    async for message in websocket.iter_text() if "text" in names else websocket.iter_bytes():
        if message in ("bye", b"bye"):
            await websocket.close(4321, "as you say")
            return
        await (websocket.send_text(message[::-1]) if isinstance(message, str) else websocket.send_bytes(message[::-1]))

app = Starlette(routes=[
    Route("/first", first_then_wait), Route("/left", somebody_left), Route("/large", large),
    Route("/redirect", lambda request: RedirectResponse("/elsewhere?x=1", 302)),
    Route("/{rest:path}", echo, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    WebSocketRoute("/talk", talk),
])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def state_of(resident: RunningResident, name: str) -> str:
    return str(next(app["state"] for app in resident.client.get("/apps").json() if app["name"] == name))


@pytest.fixture(scope="module")
def program(resident: RunningResident) -> Iterator[str]:
    """The name of a running application that tells what it was asked."""
    port = a_free_port()
    (resident.workspace / "program.py").write_text(PROGRAM)
    body = {"argv": ["python", "program.py", str(port)], "port": port}
    assert resident.client.post("/apps/program", json=body).status_code == 201
    until(lambda: state_of(resident, "program") == "ready")
    yield "program"
    resident.client.delete("/apps/program")


@contextlib.contextmanager
def a_websocket(resident: RunningResident, path: str, *subprotocols: str, **headers: str) -> Iterator[ClientConnection]:
    with unix_connect(
        resident.socket,
        f"ws://resident{path}",
        subprotocols=list(subprotocols) or None,
        additional_headers={"X-Resident-Secret": SECRET, **headers},
        compression=None,
        max_size=None,
    ) as connection:
        yield connection


def test_a_request_reaches_the_program_as_it_was_sent(resident: RunningResident, program: str) -> None:
    answer = resident.client.request(
        "PATCH", f"/apps/{program}/proxy/i/0a1b/a%2Fb%20c?x=1&y=%2F", content=b"payload", headers={"X-Mine": "kept"}
    )

    seen = answer.json()
    assert (seen["method"], seen["raw_path"], seen["query"]) == ("PATCH", "/i/0a1b/a%2Fb%20c", "x=1&y=%2F")
    assert seen["sha256"] == hashlib.sha256(b"payload").hexdigest()
    assert ["x-mine", "kept"] in seen["headers"]
    assert answer.headers["x-from"] == "program"


def test_the_program_never_sees_the_residents_secret(resident: RunningResident, program: str) -> None:
    seen = resident.client.get(f"/apps/{program}/proxy/").json()

    assert SECRET not in json.dumps(seen)


def test_the_public_host_reaches_the_program(resident: RunningResident, program: str) -> None:
    headers = {"Host": "yard.example", "Connection": "keep-alive, x-only-here", "X-Only-Here": "1"}
    seen = dict(resident.client.get(f"/apps/{program}/proxy/", headers=headers).json()["headers"])

    assert seen["x-forwarded-host"] == "yard.example"
    assert seen["host"] == "yard.example"
    assert "x-only-here" not in seen


def test_a_redirect_is_passed_on_untouched(resident: RunningResident, program: str) -> None:
    answer = resident.client.get(f"/apps/{program}/proxy/redirect", follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (302, "/elsewhere?x=1")


def test_a_large_body_streams_through_in_bounded_memory(resident: RunningResident, program: str) -> None:
    assert resident.process is not None
    before = psutil.Process(resident.process.pid).memory_info().rss
    piece = bytes(1024 * 1024)

    up = resident.client.post(f"/apps/{program}/proxy/up", content=(piece for _ in range(256)))
    with resident.client.stream("GET", f"/apps/{program}/proxy/large") as down:
        size = sum(len(part) for part in down.iter_raw())

    assert up.json()["size"] == size == 256 * 1024 * 1024
    assert psutil.Process(resident.process.pid).memory_info().rss - before < 32 * 1024 * 1024


def test_an_answer_flows_before_it_is_whole_and_the_program_hears_when_the_caller_leaves(
    resident: RunningResident, program: str
) -> None:
    with resident.client.stream("GET", f"/apps/{program}/proxy/first") as answer:
        assert next(answer.iter_raw()) == b"first"

    assert resident.client.get(f"/apps/{program}/proxy/left").text == "yes"


def test_websocket_messages_keep_their_kind_and_the_subprotocol_is_the_programs(
    resident: RunningResident, program: str
) -> None:
    with a_websocket(resident, f"/apps/{program}/proxy/talk", "text", "v1.chosen") as connection:
        connection.send("abc")
        assert connection.recv() == "cba"
        assert connection.subprotocol == "v1.chosen"

    with a_websocket(resident, f"/apps/{program}/proxy/talk") as connection:
        connection.send(b"\x00\x01" * 1_000_000)
        assert connection.recv() == b"\x01\x00" * 1_000_000
        assert connection.subprotocol is None


def test_the_programs_close_code_and_reason_arrive(resident: RunningResident, program: str) -> None:
    with a_websocket(resident, f"/apps/{program}/proxy/talk") as connection:
        connection.send(b"bye")
        with pytest.raises(ConnectionClosed):
            connection.recv()

    assert (connection.close_code, connection.close_reason) == (4321, "as you say")


def test_a_websocket_the_program_refuses_is_refused_with_its_status(resident: RunningResident, program: str) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        a_websocket(resident, f"/apps/{program}/proxy/talk", "refuse"),
    ):
        pass

    assert refused.value.response.status_code == 403


def test_the_users_own_port_is_reached_without_being_an_application(resident: RunningResident, program: str) -> None:
    [app] = [app for app in resident.client.get("/apps").json() if app["name"] == program]
    port = app["target"].rpartition(":")[2]

    answer = resident.client.get(f"/ports/{port}/proxy/some/where?q=1")

    assert answer.json()["raw_path"] == "/some/where"
    with a_websocket(resident, f"/ports/{port}/proxy/talk", "text") as connection:
        connection.send("ab")
        assert connection.recv() == "ba"


def test_nobody_listening_is_a_502(resident: RunningResident) -> None:
    port = a_free_port()

    answer = resident.client.get(f"/ports/{port}/proxy/")
    with pytest.raises(InvalidStatus) as refused, a_websocket(resident, f"/ports/{port}/proxy/"):
        pass

    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "not_ready"
    assert refused.value.response.status_code == 502


def test_an_application_that_is_starting_answers_502_until_it_is_ready(resident: RunningResident) -> None:
    port = a_free_port()
    wait = f"import os,time\nwhile not os.path.exists('go'): time.sleep(0.01)\nimport http.server as h\nh.test(h.SimpleHTTPRequestHandler, port={port})"
    started = resident.client.post("/apps/slow", json={"argv": ["python", "-c", wait], "port": port})
    assert started.json()["state"] == "starting"
    assert resident.client.get("/apps/slow/proxy/").status_code == 502

    (resident.workspace / "go").touch()

    until(lambda: state_of(resident, "slow") == "ready")
    assert resident.client.get("/apps/slow/proxy/").status_code == 200
    resident.client.delete("/apps/slow")


def test_a_dead_application_says_why_and_can_be_started_again(resident: RunningResident) -> None:
    body = {"argv": ["sh", "-c", "echo no such model >&2; exit 3"], "port": a_free_port()}
    resident.client.post("/apps/mortal", json=body)
    until(lambda: state_of(resident, "mortal") == "dead")

    answer = resident.client.get("/apps/mortal/proxy/")
    again = resident.client.post("/apps/mortal", json=body)

    assert answer.status_code == 502
    assert "exit code 3: no such model" in answer.json()["error"]["message"]
    assert again.status_code == 201


def test_starting_what_runs_changes_nothing(resident: RunningResident, program: str) -> None:
    again = resident.client.post(f"/apps/{program}", json={"argv": ["false"], "port": 1})

    assert again.status_code == 200
    assert again.json()["state"] == "ready"


def test_ending_an_application_ends_all_it_started(resident: RunningResident) -> None:
    body = {"argv": ["sh", "-c", "setsid sleep 981 & sleep 982"], "port": a_free_port()}
    resident.client.post("/apps/family", json=body)
    until(lambda: sleeping(resident) == {"981", "982"})

    assert resident.client.delete("/apps/family").status_code == 204

    assert sleeping(resident) == set()
    assert resident.client.get("/apps/family/proxy/").status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("mine", {}, "argv"),
        ("mine", {"argv": ["true"]}, "port"),
        ("mine", {"argv": ["true"], "port": 70000}, "port"),
        ("mine", {"argv": ["no-such-program-anywhere"], "port": 9}, "argv"),
        ("No!", {"argv": ["true"], "port": 9}, "name"),
        ("jupyterlab", {"base_url": "i/1/"}, "base_url"),
        ("jupyterlab", {"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_field_is_named(resident: RunningResident, name: str, body: dict[str, Any], field: str) -> None:
    answer = resident.client.post(f"/apps/{name}", json=body)

    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field


def test_jupyterlab_runs_a_cell_over_its_own_websocket(resident: RunningResident) -> None:
    base = "/apps/jupyterlab/proxy/i/0a1b2c3d"
    assert resident.client.post("/apps/jupyterlab", json={"base_url": "/i/0a1b2c3d/"}).status_code == 201
    until(lambda: state_of(resident, "jupyterlab") == "ready")
    page = resident.client.get(f"{base}/lab")
    kernel = resident.client.post(f"{base}/api/kernels", json={}).json()

    code = "import os, sys; print(os.getcwd(), sys.prefix, os.environ['GPUYARD_INSTANCE_ID'])"
    from_a_browser = {"Origin": "https://yard.example", "X-Forwarded-Host": "yard.example"}
    with a_websocket(resident, f"{base}/api/kernels/{kernel['id']}/channels", **from_a_browser) as channels:
        printed = run_cell(channels, code)

    assert "jupyter-config-data" in page.text
    assert printed == f"{resident.workspace} {resident.home}/.gpuyard/python inst_1\n"
    assert resident.client.delete("/apps/jupyterlab").status_code == 204


def run_cell(channels: ClientConnection, code: str) -> str:
    header = {"msg_id": "m1", "username": "", "session": "s1", "msg_type": "execute_request", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    channels.send(json.dumps(message))
    printed = ""
    while True:
        raw = channels.recv(timeout=60)
        answer = json.loads(raw)
        if answer["parent_header"].get("msg_id") != "m1":
            continue
        if answer["msg_type"] == "stream":
            printed += answer["content"]["text"]
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return printed


def sleeping(resident: RunningResident) -> set[str]:
    assert resident.process is not None
    found = set()
    for process in psutil.Process(resident.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if process.name() == "sleep" and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.cmdline()[1])
    return found
