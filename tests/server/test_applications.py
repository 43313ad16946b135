"""A real instance behind a real server: what flows through to it, and who gets in at its door."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.resident.running import until
from tests.yards import RunningYard, start_yard

PAGE = {"Accept": "text/html"}


@dataclass
class House:
    """A yard with one running instance, shared by the tests of this module."""

    yard: RunningYard
    instance: dict[str, Any]

    @property
    def door(self) -> str:
        return f"/i/{self.instance['short_id']}/"

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.yard.url, headers=headers, trust_env=False, timeout=90, **options)

    @property
    def owner(self) -> httpx.Client:
        return self.client(self.yard.key)

    @property
    def path(self) -> str:
        return f"/yard/v1/instances/{self.instance['id']}"

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        """A browser whose owner typed the password."""
        with self.client() as browser:
            browser.post(self.door + "_gpuyard/login", data={"password": self.instance["app_password"]})
            yield browser

    def websocket(self, path: str) -> str:
        return self.yard.url.replace("http", "ws", 1) + path

    def execute(self, command: str, **order: Any) -> str:
        body = {"kind": "shell", "command": command, **order}
        with self.owner as owner:
            return str(owner.post(self.path + "/executions", json=body).json()["id"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yard = start_yard(tmp_path_factory.mktemp("y"), env={"GPUYARD_RATE_LIMIT__LOGINS_PER_MINUTE": "600"})
    try:
        house = House(yard, {})
        with house.owner as owner:
            order = {"gpus": [{"type": "nvidia-rtx-3090"}], "name": "house"}
            owner.post("/yard/v1/instances", json=order).raise_for_status()

            def running() -> dict[str, Any] | None:
                told: dict[str, Any] = owner.get("/yard/v1/instances/house").json()
                assert told["state"] != "failed", told
                return told if told["state"] == "running" else None

            house.instance = until(running)
        yield house
    finally:
        yard.close()


def test_output_arrives_as_events_whose_ids_are_offsets(house: House) -> None:
    execution = house.execute("echo one; echo two")

    with house.owner as owner, owner.stream("GET", f"{house.path}/executions/{execution}/output?follow=true") as reply:
        lines = list(reply.iter_lines())
        journal = owner.get(f"{house.path}/executions/{execution}/output", headers={"Accept": "application/x-ndjson"})

    records = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    ids = [int(line[4:]) for line in lines if line.startswith("id: ")]
    assert "".join(record.get("d", "") for record in records) == "one\ntwo\n"
    assert (records[-1]["s"], records[-1]["code"]) == ("exit", 0)
    assert ids[-1] == len(journal.content)


def test_a_reader_that_was_cut_off_sees_every_record_once(house: House) -> None:
    execution = house.execute("for n in $(seq 200); do echo $n; done; sleep 0.2; echo end")
    address = f"{house.path}/executions/{execution}/output?follow=true"
    seen, last = "", None

    with house.owner as owner:
        for _ in range(50):
            headers = {} if last is None else {"Last-Event-ID": last}
            ended = False
            with owner.stream("GET", address, headers=headers) as reply:
                taken = 0
                for line in reply.iter_lines():
                    if line.startswith("id: "):
                        last = line[4:]
                    if line.startswith("data: "):
                        record = json.loads(line[6:])
                        seen += record.get("d", "")
                        ended = record["s"] == "exit"
                        taken += 1
                        if taken == 3:  # the network is cut in the middle of the stream
                            break
            if ended:
                break

    assert seen == "".join(f"{n}\n" for n in range(1, 201)) + "end\n"


def test_output_is_still_read_after_the_server_was_killed_and_came_back(house: House, tmp_path: Path) -> None:
    """In a yard of its own, since the server dies."""
    yard = start_yard(tmp_path)
    other = House(yard, {})
    with other.owner as owner:
        made = owner.post("/yard/v1/instances", json={"gpus": []}).json()
        other.instance = until(
            lambda: (it := owner.get(f"/yard/v1/instances/{made['id']}").json())["state"] == "running" and it
        )
    execution = other.execute("for n in $(seq 30); do echo $n; sleep 0.1; done", detached=True)

    yard.kill()
    again = House(start_yard(tmp_path), other.instance)

    try:
        with again.owner as owner:
            address = f"{again.path}/executions/{execution}/output?follow=true"
            with owner.stream("GET", address, headers={"Accept": "application/x-ndjson"}) as reply:
                records = [json.loads(line) for line in reply.iter_lines()]
        assert "".join(r.get("d", "") for r in records) == "".join(f"{n}\n" for n in range(1, 31))
        assert records[-1]["code"] == 0
    finally:
        again.yard.close()


def test_input_and_signals_reach_what_runs(house: House) -> None:
    asks, sleeps = house.execute("read name; echo hello $name"), house.execute("sleep 600")
    with house.owner as owner:

        def runs(execution: str) -> bool:
            told = owner.get(f"{house.path}/executions/{execution}").json()
            return bool(told["state"] == "running")

        until(lambda: runs(asks) and runs(sleeps))
        fed = owner.post(f"{house.path}/executions/{asks}/stdin?eof=true", content=b"world\n")
        signalled = owner.post(f"{house.path}/executions/{sleeps}/signal", json={"signal": "TERM"})
        until(lambda: not runs(asks) and not runs(sleeps))
        said = owner.get(f"{house.path}/executions/{asks}/output").text
        end = owner.get(f"{house.path}/executions/{sleeps}").json()

    assert (fed.status_code, signalled.status_code) == (204, 202)
    assert "hello world" in said
    assert end["state"] in ("cancelled", "failed")


def test_a_file_comes_back_as_it_went_whatever_its_name(house: House) -> None:
    name = "d%C3%A9j%C3%A0/a%2520b%3Fc.bin"
    with house.owner as owner:
        put = owner.put(f"{house.path}/files/{name}", content=bytes(range(256)))
        part = owner.get(f"{house.path}/files/{name}", headers={"Range": "bytes=1-3"})
        size = owner.head(f"{house.path}/files/{name}")
        listed = owner.get(f"{house.path}/files/d%C3%A9j%C3%A0").json()
        gone = owner.delete(f"{house.path}/files/{name}")

    assert (put.status_code, part.status_code, gone.status_code) == (201, 206, 204)
    assert part.content == b"\x01\x02\x03"
    assert size.headers["content-length"] == "256"
    assert [entry["name"] for entry in listed["entries"]] == ["a%20b?c.bin"]


@pytest.mark.parametrize("path", ["%2e%2e/%2e%2e/etc/passwd", "/etc/shadow", "%2Fproc%2F1%2Fenviron"])
def test_a_path_that_climbs_out_is_refused(house: House, path: str) -> None:
    with house.owner as owner:
        reply = owner.get(f"{house.path}/files/{path}")

    assert reply.status_code in (404, 422)
    assert reply.json()["error"]["request_id"]


async def test_dots_in_a_path_never_reach_another_route_of_the_resident(house: House) -> None:
    """By hand, since every HTTP client resolves them before it sends."""
    host, port = house.yard.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {house.path}/files/../shutdown?move_to=x HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {house.yard.key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()

    assert answer.startswith((b"HTTP/1.1 4",))
    with house.owner as owner:
        assert owner.get(house.path + "/samples").status_code == 200


def test_a_large_upload_passes_through_without_filling_the_server(house: House) -> None:
    def resident_mb() -> int:
        status = Path(f"/proc/{house.yard.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024

    before = resident_mb()

    def body() -> Iterator[bytes]:
        for _ in range(400):
            yield b"x" * 1_000_000

    with house.owner as owner:
        put = owner.put(f"{house.path}/files/large.bin", content=body())
        with owner.stream("GET", f"{house.path}/files/large.bin") as reply:
            size = sum(len(chunk) for chunk in reply.iter_bytes())
        owner.delete(f"{house.path}/files/large.bin")

    assert (put.status_code, size) == (201, 400_000_000)
    assert resident_mb() - before < 100


async def test_a_terminal_is_a_shell_in_the_instance(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.yard.key}"}
    said = b""

    async with connect(
        house.websocket(house.path + "/terminals/t1"), additional_headers=headers, proxy=None
    ) as terminal:
        await terminal.send(b"echo gpu-$((40+2)); exit\n")
        async for message in terminal:
            said += message if isinstance(message, bytes) else b""
            if b"gpu-42" in said:
                break

    assert b"gpu-42" in said


async def test_a_terminal_needs_a_key_that_may_run(house: House) -> None:
    with house.owner as owner:
        member = owner.post("/yard/v1/members", json={"name": "v", "role": "viewer"}).json()
        viewer = owner.post("/yard/v1/keys", json={"member_id": member["id"]}).json()["secret"]
        stranger = owner.post("/yard/v1/accounts", json={"name": "s"}).json()["owner_key"]

    statuses = [
        await _refused(house, house.path + "/terminals/t", {"Authorization": f"Bearer {key}"} if key else {})
        for key in (None, viewer, stranger)
    ]

    assert statuses == [401, 403, 404]


def test_jupyterlab_opens_with_the_instances_password(house: House) -> None:
    with house.client(follow_redirects=True) as browser:
        asked = browser.get(house.door, headers=PAGE)
        wrong = browser.post(house.door + "_gpuyard/login", data={"password": "wrong"}, headers=PAGE)
        browser.post(
            house.door + "_gpuyard/login", data={"password": house.instance["app_password"]}, follow_redirects=False
        )
        page = until(lambda: (reply := browser.get(house.door, headers=PAGE)).status_code == 200 and reply)
        status = browser.get(house.door + "api/status")

    assert (asked.status_code, wrong.status_code, status.status_code) == (401, 401, 200)
    assert "Password of this instance" in asked.text
    assert "not the password" in wrong.text
    assert "<title>JupyterLab</title>" in page.text


def test_the_cookie_is_for_this_instance_alone(house: House) -> None:
    with house.client() as browser:
        entered = browser.post(house.door + "_gpuyard/login", data={"password": house.instance["app_password"]})

    cookie = entered.headers["set-cookie"]
    assert f"Path={house.door}" in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=lax", "expires="))


def test_a_link_of_the_owner_opens_once(house: House) -> None:
    with house.owner as owner, house.client() as browser, house.client() as thief:
        link = owner.post(house.path + "/open").json()["url"]

        first, second = browser.get(link), thief.get(link)
        inside = browser.get(house.door + "api/status")

    assert (first.status_code, second.status_code, inside.status_code) == (303, 401, 200)


def test_the_applications_never_see_what_proves_who_asks(house: House) -> None:
    """A program of the visitor's own, on a port of the instance, that answers with the headers it got."""
    house.execute(
        "cat > echo.py <<'END'\n"
        "import http.server, json\n"
        "class Echo(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        self.wfile.write(json.dumps({**dict(self.headers), 'path': self.path}).encode())\n"
        "http.server.HTTPServer(('127.0.0.1', 8123), Echo).serve_forever()\n"
        "END\n"
        "exec python echo.py",
        detached=True,
    )
    with house.visitor() as browser:
        browser.cookies.set("theirs", "kept", path="/")
        until(lambda: browser.get(house.door + "port/8123/").status_code == 200)

        by_cookie = browser.get(house.door + "port/8123/a%20b?c=d").json()
    with house.owner as owner:
        by_key = owner.get(house.door + "port/8123/").json()

    assert by_cookie["path"] == "/a%20b?c=d"
    lower = {name.lower(): value for name, value in by_cookie.items()}
    assert lower["cookie"] == "theirs=kept"
    assert lower["x-forwarded-prefix"] == house.door.rstrip("/")
    assert "authorization" not in {name.lower() for name in by_key}
    assert not any("secret" in name.lower() for name in by_key)


def test_a_strangers_key_finds_no_door(house: House) -> None:
    with house.owner as owner:
        stranger = owner.post("/yard/v1/accounts", json={"name": "s"}).json()["owner_key"]

    with house.client(stranger) as client:
        assert client.get(house.door + "api/status").status_code == 404


def test_an_instance_that_is_not_there_looks_like_one_that_is_locked(house: House) -> None:
    with house.client() as browser:
        there, not_there = browser.get(house.door, headers=PAGE), browser.get("/i/00000000/", headers=PAGE)
        tried = browser.post("/i/00000000/_gpuyard/login", data={"password": "x"}, headers=PAGE)

    short_id = house.instance["short_id"]
    assert (there.status_code, not_there.status_code, tried.status_code) == (401, 401, 401)
    assert there.text.replace(short_id, "") == not_there.text.replace("00000000", "")


def test_our_own_pages_run_no_scripts_and_stand_in_no_frame(house: House) -> None:
    with house.client() as browser:
        policy = browser.get(house.door, headers=PAGE).headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_a_kernel_of_jupyterlab_answers_through_the_door(house: House) -> None:
    with house.visitor() as browser:
        until(lambda: browser.get(house.door + "api/status").status_code == 200)
        xsrf = {"X-XSRFToken": browser.cookies.get("_xsrf", "")}
        made = browser.post(house.door + "api/kernels", json={"name": "python3"}, headers=xsrf)
        if made.status_code == 403:  # the first page sets the cookie it asks for
            browser.get(house.door + "lab", headers=PAGE)
            xsrf = {"X-XSRFToken": browser.cookies.get("_xsrf", "")}
            made = browser.post(house.door + "api/kernels", json={"name": "python3"}, headers=xsrf)
        made.raise_for_status()
        cookie = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)
    message = {
        "header": {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": "print(6*7)", "silent": False},
        "channel": "shell",
    }

    async with connect(
        house.websocket(f"{house.door}api/kernels/{made.json()['id']}/channels"),
        additional_headers={"Cookie": cookie, "Origin": house.yard.url},
        proxy=None,
        max_size=None,
    ) as channels:
        await channels.send(json.dumps(message))
        async for received in channels:
            told = json.loads(received)
            if told["msg_type"] == "stream":
                break

    assert told["content"]["text"] == "42\n"


async def test_a_page_of_another_site_cannot_use_the_visitors_cookie(house: House) -> None:
    with house.visitor() as browser:
        cookie = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)

    status = await _refused(
        house, house.door + "api/kernels/x/channels", {"Cookie": cookie, "Origin": "https://evil.example"}
    )

    assert status == 403


async def _refused(house: House, path: str, headers: dict[str, str]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(house.websocket(path), additional_headers=headers, proxy=None):
            pass
    return refused.value.response.status_code


def test_what_does_not_run_says_so_to_who_may_know(house: House) -> None:
    with house.owner as owner:
        made = owner.post("/yard/v1/instances", json={"gpus": [{"type": "rtx 4090"}]}).json()
        until(lambda: owner.get(f"/yard/v1/instances/{made['id']}").json()["state"] == "running")
        owner.post(f"/yard/v1/instances/{made['id']}/stop")

        page = until(
            lambda: "is stopped" in (reply := owner.get(f"/i/{made['short_id']}/", headers=PAGE)).text and reply
        )
        files = owner.get(f"/yard/v1/instances/{made['id']}/files")

    assert page.status_code == 503
    assert (files.status_code, files.json()["error"]["code"]) == (409, "illegal_state")


async def test_what_a_key_opened_ends_when_the_key_is_revoked(house: House) -> None:
    silent = house.execute("sleep 600")
    with house.owner as owner:
        made = owner.post("/yard/v1/keys", json={"name": "soon revoked"}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    following = f"{house.path}/executions/{silent}/output?follow=true"
    async with (
        httpx.AsyncClient(base_url=house.yard.url, headers=headers, trust_env=False, timeout=60) as client,
        client.stream("GET", following) as output,
        client.stream("GET", "/yard/v1/events", headers={"Accept": "text/event-stream"}) as events,
        connect(house.websocket(house.path + "/terminals/t2"), additional_headers=headers, proxy=None) as terminal,
    ):
        with house.owner as owner:
            owner.delete(f"/yard/v1/keys/{made['key']['id']}").raise_for_status()

        async with asyncio.timeout(30):
            await output.aread()
            await events.aread()
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await terminal.recv()

    assert terminal.close_code == 1008
    with house.owner as owner:
        owner.post(f"{house.path}/executions/{silent}/signal", json={"signal": "KILL"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 403),
    ],
)
def test_from_another_site_only_a_link_leads_in(house: House, headers: dict[str, str], status: int) -> None:
    with house.visitor() as browser:
        until(lambda: browser.get(house.door + "api/status").status_code == 200)

        assert browser.get(house.door + "api/status", headers=headers).status_code == status


def test_another_site_cannot_post_with_the_visitors_cookie(house: House) -> None:
    headers = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    with house.visitor() as browser:
        assert browser.post(house.door + "port/9/", data={"a": "b"}, headers=headers).status_code == 403


def test_a_link_that_was_used_stays_used_when_the_server_starts_again(tmp_path: Path) -> None:
    yard = start_yard(tmp_path)
    with httpx.Client(base_url=yard.url, headers={"Authorization": f"Bearer {yard.key}"}, trust_env=False) as owner:
        made = owner.post("/yard/v1/instances", json={"gpus": []}).json()
        link = owner.post(f"/yard/v1/instances/{made['id']}/open").json()["url"]
    with httpx.Client(base_url=yard.url, trust_env=False) as browser:
        first = browser.get(link)
    yard.kill()

    again = start_yard(tmp_path)
    try:
        with httpx.Client(base_url=again.url, trust_env=False) as thief:
            second = thief.get(link)
    finally:
        again.close()

    assert (first.status_code, second.status_code) == (303, 401)


@pytest.mark.parametrize("status", ["999 Odd", "101 Switching Protocols", "099 Low", "abc"])
def test_a_port_that_speaks_nonsense_is_a_bad_gateway(house: House, status: str) -> None:
    port = {"999 Odd": 8201, "101 Switching Protocols": 8202, "099 Low": 8203, "abc": 8204}[status]
    house.execute(
        "cat > nonsense.py <<'END'\n"
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "while True:\n"
        "    there, _ = server.accept()\n"
        "    there.recv(65536)\n"
        "    there.sendall(f'HTTP/1.1 {sys.argv[2]}\\r\\nContent-Length: 2\\r\\n\\r\\nhi'.encode())\n"
        "    there.close()\n"
        "END\n"
        f"exec python nonsense.py {port} '{status}'",
        detached=True,
    )
    with house.visitor() as browser:
        answer = until(
            lambda: (
                (reply := browser.get(f"{house.door}port/{port}/")).status_code
                and "refused" not in reply.text.lower()
                and "connection attempts failed" not in reply.text.lower()
                and reply
            )
        )

    assert answer.status_code == 502
