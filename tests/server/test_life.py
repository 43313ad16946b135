"""A server's life as a process: ready, found, stopped, started again."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpuyard.server.exits import Exit
from tests.yards import SOURCE, RunningYard, start_yard

FAKE = {"GPUYARD_PROVIDERS": '{"fake": {}}'}


@pytest.fixture
def yards(tmp_path: Path) -> Iterator[Callable[..., RunningYard]]:
    """Starts servers of one yard, one after the other; all are gone when the test is over."""
    made: list[RunningYard] = []

    def up(**options: Any) -> RunningYard:
        made.append(start_yard(tmp_path, env={**FAKE, **options.pop("env", {})}, **options))
        return made[-1]

    yield up
    for yard in made:
        yard.kill()


def client(yard: RunningYard) -> httpx.Client:
    headers = {"Authorization": f"Bearer {yard.key}"}
    return httpx.Client(base_url=f"{yard.url}/yard/v1", headers=headers, trust_env=False, timeout=30)


def test_a_first_start_says_where_it_is_and_keeps_the_owners_key_private(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    server = subprocess.Popen(
        [sys.executable, "-m", "gpuyard.server", "--home", str(tmp_path), "--port", "0"],
        env={**clean, "PYTHONPATH": str(SOURCE), **FAKE},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        told = json.loads((tmp_path / "credentials.json").read_text())
        me = httpx.get(
            f"{told['url']}/yard/v1/me", headers={"Authorization": f"Bearer {told['key']}"}, trust_env=False
        ).json()
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()

    assert line.startswith("gpuyard ")
    assert line.endswith(f" ready at {told['url']}\n")
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert (me["member"]["role"], me["account"]["operates_yard"]) == ("owner", True)


def test_without_credentials_the_first_key_is_printed_once(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    command = [sys.executable, "-m", "gpuyard.server", "--home", str(tmp_path), "--port", "0", "--no-credentials"]
    printed = []

    for _ in range(2):
        server = subprocess.run(
            [*command, "--idle-exit", "0.2"],
            env={**clean, "PYTHONPATH": str(SOURCE), **FAKE},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        printed.append("sk_compute_" in server.stdout)

    assert printed == [True, False]
    assert not (tmp_path / "credentials.json").exists()


def test_credentials_of_another_yard_are_left_alone(tmp_path: Path, yards: Callable[..., RunningYard]) -> None:
    theirs = {"url": "https://elsewhere.example", "key": "sk_compute_of-another-yard"}
    (tmp_path / "home").mkdir()
    (tmp_path / "home/credentials.json").write_text(json.dumps(theirs))

    yards(key="sk_compute_0123456789abcdef0123456789")

    assert json.loads((tmp_path / "home/credentials.json").read_text()) == theirs


def test_a_server_that_moved_tells_its_own_clients(tmp_path: Path, yards: Callable[..., RunningYard]) -> None:
    first = yards()
    first.stop()
    (tmp_path / "home/credentials.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": first.key}))

    second = yards()

    assert json.loads((tmp_path / "home/credentials.json").read_text())["url"] == second.url


def test_a_running_server_can_be_found_and_a_stopped_one_not(tmp_path: Path, yards: Callable[..., RunningYard]) -> None:
    yard = yards()
    found = json.loads((tmp_path / "home/data/server.json").read_text())

    status = yard.stop()

    assert (found["pid"], found["url"]) == (yard.pid, yard.url)
    assert status == Exit.OK
    assert not (tmp_path / "home/data/server.json").exists()


def test_ready_means_healthy_and_ready_to_serve(yards: Callable[..., RunningYard]) -> None:
    yard = yards()

    replies = [httpx.get(yard.url + path, trust_env=False) for path in ("/healthz", "/readyz", "/metrics")]

    assert [reply.status_code for reply in replies] == [200, 200, 200]
    assert 'gpuyard_instances{state="running"} 0.0' in replies[2].text


def test_metrics_need_a_key_when_somebody_else_asks_through_a_proxy(yards: Callable[..., RunningYard]) -> None:
    yard = yards()
    away = {"X-Forwarded-For": "203.0.113.9"}

    def status(key: str | None) -> int:
        headers = {**away, **({"Authorization": f"Bearer {key}"} if key else {})}
        return httpx.get(yard.url + "/metrics", headers=headers, trust_env=False).status_code

    with client(yard) as owner:
        other = owner.post("/accounts", json={"name": "other"}).json()["owner_key"]

    assert (status(None), status(other), status(yard.key)) == (401, 403, 200)


def test_metrics_count_requests_by_route_and_never_by_path(yards: Callable[..., RunningYard]) -> None:
    yard = yards()
    with client(yard) as owner:
        owner.get("/instances/nobody-has-this-name")

    text = httpx.get(yard.url + "/metrics", trust_env=False).text

    assert 'gpuyard_requests_total{method="GET",route="/yard/v1/instances/{ref}",status="404"} 1.0' in text
    assert "nobody-has-this-name" not in text


def test_what_was_acknowledged_is_there_after_a_restart(yards: Callable[..., RunningYard]) -> None:
    first = yards()
    with client(first) as owner:
        made = owner.post("/instances", json={"gpus": [], "name": "kept", "labels": {"a": "b"}}).json()
    first.kill()

    second = yards()

    with client(second) as owner:
        found = owner.get("/instances/kept").json()
    assert (found["id"], found["labels"]) == (made["id"], {"a": "b"})


def test_a_stop_ends_streams_in_order(yards: Callable[..., RunningYard]) -> None:
    yard = yards()
    with (
        client(yard) as owner,
        owner.stream("GET", "/events", headers={"Accept": "text/event-stream"}) as events,
    ):
        chunks = events.iter_bytes()
        first = next(chunks)

        status = yard.stop()
        rest = list(chunks)

    assert first.startswith(b": here")
    assert (status, rest) == (Exit.OK, [])


def test_an_idle_server_leaves_by_itself(yards: Callable[..., RunningYard]) -> None:
    yard = yards(args=("--idle-exit", "0.3"))

    assert yard.ends_by_itself() == Exit.OK


def test_a_server_with_an_active_instance_does_not_leave(yards: Callable[..., RunningYard]) -> None:
    yard = yards(args=("--idle-exit", "1"))
    with client(yard) as owner:
        owner.post("/instances", json={"gpus": [], "name": "busy"})

        left_early = yard.ends_by_itself(within=2)
        owner.delete("/instances/busy")

    assert left_early is None
    assert yard.ends_by_itself() == Exit.OK


def test_an_event_reader_that_was_cut_off_goes_on_where_it_was(yards: Callable[..., RunningYard]) -> None:
    yard = yards()
    with client(yard) as owner:
        owner.post("/instances", json={"gpus": [], "name": "a"})
        all_of_them = owner.get("/events").json()["items"]
        wanted = {"Accept": "text/event-stream", "Last-Event-ID": str(all_of_them[0]["seq"])}

        with owner.stream("GET", "/events", headers=wanted) as events:
            ids = (int(line[4:]) for line in events.iter_lines() if line.startswith("id: "))
            first = next(ids)

    assert first == all_of_them[1]["seq"]
