"""A resident's life: who may speak to it, whose it is, what survives its crash, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import unix_connect

from tests.resident.running import SECRET, SOURCE, RunningResident, an_assignment, text_of, until

Residents = Callable[..., RunningResident]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def a_warm(a_resident: Residents) -> RunningResident:
    running = a_resident(assignment=None, secret="the-warm-secret")
    running.client = running.a_client("the-warm-secret")
    running.start()
    return running


# who may speak to it


def test_health_needs_no_secret(resident: RunningResident) -> None:
    answer = resident.a_client(secret=None).get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "protocol": 1, "version": answer.json()["version"], "assigned": True}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/healthz"),
        ("GET", "/healthz/"),
        ("POST", "/assign"),
        ("POST", "/shutdown"),
        ("GET", "/samples"),
        ("GET", "/executions"),
        ("PUT", "/executions/x"),
        ("GET", "/executions/x"),
        ("DELETE", "/executions/x"),
        ("GET", "/executions/x/journal"),
        ("POST", "/executions/x/signal"),
        ("POST", "/executions/x/stdin"),
        ("GET", "/kernels"),
        ("POST", "/kernels"),
        ("GET", "/kernels/main/journal"),
        ("GET", "/files/x"),
        ("PUT", "/files/x"),
        ("GET", "/archive/x"),
        ("GET", "/terminals"),
        ("GET", "/apps"),
        ("GET", "/apps/x/proxy/"),
        ("GET", "/ports/1/proxy/"),
        ("GET", "/no/such/route"),
        ("OPTIONS", "/executions"),
    ],
)
@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), "é"])
def test_nobody_gets_in_without_the_secret(
    resident: RunningResident, method: str, path: str, secret: str | None
) -> None:
    headers = {} if secret is None else {"X-Resident-Secret": secret.encode()}
    with resident.a_client(secret=None) as client:
        answer = client.request(method, path, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("path", ["/terminals/t", "/apps/jupyterlab/proxy/x", "/ports/80/proxy/x", "/no-such-route"])
def test_no_websocket_opens_without_the_secret(resident: RunningResident, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, unix_connect(resident.socket, f"ws://resident{path}"):
        pass

    assert refused.value.response.status_code == 401


def test_two_secrets_are_no_secret(resident: RunningResident) -> None:
    with resident.a_client(secret=None) as client:
        headers = [("X-Resident-Secret", SECRET), ("X-Resident-Secret", "other")]
        answer = client.get("/executions", headers=headers)

    assert answer.status_code == 401


def test_an_unknown_route_is_not_found_with_the_one_error_shape(resident: RunningResident) -> None:
    answer = resident.client.get("/no/such/route")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_wrong_method_has_the_one_error_shape(resident: RunningResident) -> None:
    answer = resident.client.patch("/executions")

    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_body_without_end_is_refused(resident: RunningResident) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    try:
        answer = resident.a_client().put("/executions/endless", content=endless())
    except httpx.TransportError:
        return  # the answer came while we still sent, and the connection was closed on us

    assert answer.status_code == 413


def test_the_socket_is_for_its_owner_alone(resident: RunningResident) -> None:
    mode = Path(resident.socket).stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


# warm residents


def test_a_warm_resident_takes_its_instance_once(a_resident: Residents) -> None:
    running = a_warm(a_resident)
    assignment = an_assignment(env={"GREETING": "hello"})

    before = running.client.get("/healthz").json()["assigned"]
    first = running.client.post("/assign", json=assignment)
    again = running.client.post("/assign", json=assignment)
    other = running.client.post("/assign", json=an_assignment(instance_id="inst_2"))

    assert before is False
    assert (first.status_code, again.status_code, other.status_code) == (204, 204, 409)
    assert running.client.get("/healthz").json()["assigned"] is True


def test_the_instances_secret_replaces_the_warm_one(a_resident: Residents) -> None:
    running = a_warm(a_resident)

    running.client.post("/assign", json=an_assignment())
    with_old = running.client.get("/executions")
    with_new = running.a_client(SECRET).get("/executions")

    assert (with_old.status_code, with_new.status_code) == (401, 200)


def test_what_an_assignment_brings_reaches_processes_and_the_kernel_that_was_there_before(
    a_resident: Residents,
) -> None:
    running = a_warm(a_resident)
    until(lambda: [k for k in running.client.get("/kernels").json() if k["state"] == "idle"])
    kernel = running.client.get("/kernels").json()[0]
    gpu = {"index": 3, "uuid": "u", "name": "n", "slug": "nvidia-rtx-3090", "memory_mb": 1, "simulated": True}

    running.client.post("/assign", json=an_assignment(env={"GREETING": "hello"}, gpus=[gpu]))
    running.client = running.a_client(SECRET)
    shell = running.run("shell", kind="shell", code="echo $GREETING $CUDA_VISIBLE_DEVICES $GPUYARD_INSTANCE_ID")
    code = "import os; print(*(os.environ[n] for n in ('GREETING', 'CUDA_VISIBLE_DEVICES', 'GPUYARD_INSTANCE_ID')))"
    python = running.run("python", kind="python", code=code)

    assert text_of(shell) == "hello 3 inst_1\n"
    assert text_of(python) == "hello 3 inst_1\n"
    assert running.client.get("/kernels").json()[0]["started_at"] == kernel["started_at"]


def test_a_resident_started_for_its_instance_takes_no_other(resident: RunningResident) -> None:
    same = resident.client.post("/assign", json=an_assignment())
    other = resident.client.post("/assign", json=an_assignment(instance_id="inst_2"))

    assert (same.status_code, other.status_code) == (204, 409)


def test_a_wrong_assignment_names_its_field(a_resident: Residents) -> None:
    running = a_warm(a_resident)

    answer = running.client.post("/assign", json=an_assignment(gpus=[{"index": "first"}]))

    assert answer.status_code == 422
    assert answer.json()["error"]["field"].startswith("gpus.0")
    assert running.client.get("/healthz").json()["assigned"] is False


def test_a_warm_resident_goes_when_its_starter_goes(a_resident: Residents) -> None:
    running = a_warm(a_resident)
    assert running.process is not None
    assert running.process.stdin is not None
    children = psutil.Process(running.process.pid)

    running.process.stdin.close()

    assert running.process.wait(timeout=60) == 0
    assert not children.is_running()
    assert not Path(running.socket).exists()


def test_an_assigned_resident_outlives_its_starter(a_resident: Residents) -> None:
    running = a_warm(a_resident)
    running.client.post("/assign", json=an_assignment())
    running.client = running.a_client(SECRET)
    assert running.process is not None
    assert running.process.stdin is not None

    running.process.stdin.close()

    found = running.run("after", kind="shell", code="sleep 0.3; echo still here")
    assert text_of(found) == "still here\n"


def test_an_assignment_is_known_after_a_crash(a_resident: Residents) -> None:
    running = a_warm(a_resident)
    running.client.post("/assign", json=an_assignment(env={"GREETING": "hello"}))
    running.kill()

    running.start()
    found = running.run("x", kind="shell", code="echo $GREETING")

    assert running.client.get("/healthz").json()["assigned"] is True
    assert text_of(found) == "hello\n"


def test_after_a_crash_the_same_assignment_brings_the_instances_secret_back(a_resident: Residents) -> None:
    running = a_warm(a_resident)
    running.client.post("/assign", json=an_assignment())
    running.kill()
    running.start()

    again = running.client.post("/assign", json=an_assignment())
    with_old = running.client.get("/executions")
    with_new = running.a_client(SECRET).get("/executions")
    without = running.a_client("").get("/executions")

    assert again.status_code == 204
    assert (with_old.status_code, with_new.status_code, without.status_code) == (401, 200, 401)


def test_no_file_that_programs_can_read_holds_a_secret_of_the_instance(a_resident: Residents) -> None:
    running = a_warm(a_resident)

    running.client.post("/assign", json=an_assignment(app_password="the-password"))

    kept = b"".join(path.read_bytes() for path in running.state.rglob("*") if path.is_file())
    assert b"inst_1" in kept
    assert SECRET.encode() not in kept
    assert b"the-password" not in kept


def test_the_assignment_on_disk_is_for_its_owner_alone(a_resident: Residents) -> None:
    running = a_warm(a_resident)

    running.client.post("/assign", json=an_assignment())

    assert stat.S_IMODE((running.state / "assignment.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700


# crashes


def test_ended_executions_are_readable_after_a_crash(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    running.run("python", kind="python", code="print('kept')\n6 * 7")
    before = running.client.get("/executions/python/journal").content
    view = running.view("python")
    running.kill()

    running.start()

    assert running.client.get("/executions/python/journal").content == before
    assert running.view("python") == {**view, "ended_at": running.view("python")["ended_at"]}
    assert running.view("python")["result"] == "42"


def test_unfinished_executions_end_as_resident_restarted_and_leave_nothing_running(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    script = "echo $$ > pid; setsid sleep 600 & echo $! > far-pid; echo before; wait"
    running.client.put("/executions/shell", json={"kind": "shell", "code": script})
    running.client.put("/executions/cell", json={"kind": "python", "code": "import os; print(os.getpid()); input()"})
    until(lambda: "before" in text_of(running.records("shell", follow=False)))
    kernel = int(until(lambda: text_of(running.records("cell", follow=False)).strip()))
    pids = [int((running.workspace / name).read_text()) for name in ("pid", "far-pid")]
    seen = running.client.get("/executions/shell/journal").content
    running.kill()

    running.start()
    shell, cell = running.records("shell"), running.records("cell")

    assert text_of(shell) == "before\n"
    assert (shell[-1]["s"], shell[-1]["reason"]) == ("exit", "resident_restarted")
    assert (cell[-1]["s"], cell[-1]["reason"]) == ("exit", "resident_restarted")
    assert running.view("shell")["state"] == "ended"
    assert running.client.get("/executions/shell/journal").content.startswith(seen)
    until(lambda: not any(alive(pid) for pid in [*pids, kernel]))


def test_the_same_id_runs_once_even_across_a_crash(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    request = {"kind": "shell", "code": "echo x >> counted"}
    running.run("once", **request)
    running.kill()
    running.start()

    answer = running.client.put("/executions/once", json=request)

    assert answer.status_code == 200
    assert (running.workspace / "counted").read_text() == "x\n"


def test_a_torn_journal_is_mended_at_the_start(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    running.client.put("/executions/torn", json={"kind": "shell", "code": "echo whole; sleep 600"})
    until(lambda: "whole" in text_of(running.records("torn", follow=False)))
    running.kill()
    with (running.state / "executions/torn/journal.ndjson").open("ab") as file:
        file.write(b'{"t":1,"s":"stdout","d":"ha')

    running.start()

    found = running.records("torn")
    assert [record["s"] for record in found] == ["stdout", "exit"]
    assert found[-1]["reason"] == "resident_restarted"


def test_a_reader_resumes_over_a_crash_with_every_byte_once(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    running.client.put("/executions/long", json={"kind": "shell", "code": "seq 1 50000; echo done; sleep 600"})
    copied = b""
    with running.a_client().stream("GET", "/executions/long/journal?follow=true") as answer:
        for piece in answer.iter_raw():
            copied += piece
            if len(copied) > 100_000:
                break
    until(lambda: "done" in text_of(running.records("long", follow=False)))
    running.kill()
    running.start()

    copied += running.client.get(f"/executions/long/journal?after={len(copied)}&follow=true").content

    found = [json.loads(line) for line in copied.splitlines()]
    assert text_of(found) == "".join(f"{n}\n" for n in range(1, 50_001)) + "done\n"


def test_an_execution_that_was_never_begun_is_swept_away(a_resident: Residents) -> None:
    running = a_resident()
    draft = running.state / "executions/.half"
    draft.mkdir(parents=True)

    running.start()

    assert running.client.get("/executions").json() == []
    assert not draft.exists()


# starting


def test_a_stale_socket_is_replaced(a_resident: Residents) -> None:
    running = a_resident()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(running.socket)

    running.start()

    assert running.client.get("/healthz").status_code == 200


def run_to_its_end(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpuyard.resident", "--config", str(path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_resident_on_the_same_socket_gives_up_and_says_why(resident: RunningResident) -> None:
    second = run_to_its_end(resident.place / "config.json")

    assert second.returncode == 1
    assert "another resident listens" in second.stderr
    assert resident.client.get("/healthz").status_code == 200


def test_a_socket_path_that_is_too_long_is_named(a_resident: Residents) -> None:
    running = a_resident()
    running.config["residence"]["socket"] = str(running.place / ("x" * 120))
    (running.place / "config.json").write_text(json.dumps(running.config))

    ended = run_to_its_end(running.place / "config.json")

    assert ended.returncode == 1
    assert "choose a shorter one" in ended.stderr


@pytest.mark.parametrize("text", ["", "{", "{}", '{"residence": {"state": "/x", "colour": 1}, "secret": "s"}'])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    ended = run_to_its_end(tmp_path / "config.json")

    assert ended.returncode == 2
    assert str(tmp_path / "config.json") in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_resident_can_live_on_a_port(a_resident: Residents) -> None:
    running = a_resident()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    running.config["residence"].update(socket=None, host="127.0.0.1", port=port)
    address = f"http://127.0.0.1:{port}"
    running.client = httpx.Client(base_url=address, headers={"X-Resident-Secret": SECRET}, timeout=60)

    running.start()

    assert text_of(running.run("x", kind="shell", code="echo hi")) == "hi\n"


# the end


def programs_of(running: RunningResident) -> list[psutil.Process]:
    assert running.process is not None
    return psutil.Process(running.process.pid).children(recursive=True)


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM"])
def test_the_end_of_a_resident_is_the_end_of_all_it_runs(a_resident: Residents, how: str) -> None:
    running = a_resident()
    running.start()
    assert running.process is not None
    script = "setsid sleep 600 & trap '' TERM; echo ready; while :; do sleep 1; done"
    running.client.put("/executions/shell", json={"kind": "shell", "code": script})
    running.client.put("/executions/cell", json={"kind": "python", "code": "print('ready'); input()"})
    until(lambda: "ready" in text_of(running.records("shell", follow=False)))
    until(lambda: "ready" in text_of(running.records("cell", follow=False)))
    programs = programs_of(running)

    if how == "shutdown":
        assert running.client.post("/shutdown", json={"grace_seconds": 0.3}).status_code == 202
    else:
        running.process.send_signal(signal.SIGTERM)
    code = running.process.wait(timeout=60)

    assert code == 0
    assert len(programs) >= 4
    assert not any(program.is_running() and program.status() != "zombie" for program in programs)
    for one in ("shell", "cell"):
        last = json.loads((running.state / f"executions/{one}/journal.ndjson").read_bytes().splitlines()[-1])
        assert (last["s"], last["reason"]) == ("exit", "cancelled")
    assert not Path(running.socket).exists()


def test_a_follower_hears_the_end_before_the_resident_goes(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    running.client.put("/executions/followed", json={"kind": "shell", "code": "echo ready; sleep 600"})

    with running.a_client().stream("GET", "/executions/followed/journal?follow=true") as answer:
        lines = answer.iter_lines()
        first = json.loads(next(lines))
        running.client.post("/shutdown")
        last = json.loads(list(lines)[-1])

    assert first["d"] == "ready\n"
    assert (last["s"], last["reason"]) == ("exit", "cancelled")


def test_a_program_may_say_goodbye_at_the_end(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    code = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    running.client.put("/executions/polite", json={"kind": "shell", "code": code})
    until(lambda: "ready" in text_of(running.records("polite", follow=False)))

    running.client.post("/shutdown")
    running.stop()
    running.start()

    assert text_of(running.records("polite")) == "ready\nsaved\n"


def test_shutting_down_twice_is_the_same_as_once(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    assert running.process is not None
    running.client.put("/executions/x", json={"kind": "shell", "code": "trap '' TERM; while :; do sleep 1; done"})

    first = running.client.post(f"/shutdown?{uuid.uuid4()}", json={"grace_seconds": 1})
    second = running.client.post("/shutdown", json={"grace_seconds": 1})

    assert (first.status_code, second.status_code) == (202, 202)
    assert running.process.wait(timeout=60) == 0


def test_nothing_starts_while_the_resident_goes(a_resident: Residents) -> None:
    running = a_resident()
    running.start()
    running.client.put("/executions/x", json={"kind": "shell", "code": "trap '' TERM; while :; do sleep 1; done"})
    running.client.post("/shutdown", json={"grace_seconds": 5})

    answer = running.client.put("/executions/late", json={"kind": "shell", "code": "true"})

    assert answer.status_code == 409
