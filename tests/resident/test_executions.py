"""Executions that are processes, in a real resident."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import resource
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.resident.running import SECRET, RunningResident, text_of, until


@pytest.fixture(name="id")
def a_new_id() -> str:
    return f"exec_{uuid.uuid4().hex[:12]}"


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pid_from(path: Path) -> int:
    return int(until(lambda: path.exists() and path.read_text().strip()))


def test_a_shell_text_runs_with_its_output_and_exit_code(resident: RunningResident, id: str) -> None:
    found = resident.run(id, kind="shell", code="echo out; echo err >&2; exit 3")

    assert text_of(found) == "out\n"
    assert text_of(found, "stderr") == "err\n"
    assert (found[-1]["s"], found[-1]["code"], found[-1]["reason"]) == ("exit", 3, "")
    assert resident.view(id)["exit_code"] == 3
    assert resident.view(id)["state"] == "ended"


def test_an_argv_runs_without_a_shell(resident: RunningResident, id: str) -> None:
    found = resident.run(id, kind="argv", argv=["printf", "%s\\n", "$HOME; two words"])

    assert text_of(found) == "$HOME; two words\n"


def test_the_same_id_runs_once(resident: RunningResident, id: str) -> None:
    request = {"kind": "shell", "code": "echo x >> counted"}

    answers = [resident.client.put(f"/executions/{id}", json=request).status_code for _ in range(5)]
    resident.records(id)

    assert answers == [201, 200, 200, 200, 200]
    assert (resident.workspace / "counted").read_text() == "x\n"


def test_a_program_starts_in_the_work_directory_with_the_variables_of_its_request(
    resident: RunningResident, id: str
) -> None:
    found = resident.run(id, kind="shell", code='pwd; echo "$ONE $GPUYARD_INSTANCE_ID"', env={"ONE": "1"})

    assert text_of(found) == f"{resident.workspace}\n1 inst_1\n"


def test_a_program_starts_where_its_request_says(resident: RunningResident, id: str) -> None:
    (resident.workspace / "deeper").mkdir(exist_ok=True)

    found = resident.run(id, kind="shell", code="pwd", cwd="/workspace/deeper")

    assert text_of(found) == f"{resident.workspace / 'deeper'}\n"


def test_a_program_sees_neither_the_secret_nor_the_environment_of_the_resident(
    a_resident: Callable[..., RunningResident], id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACHINE_TOKEN", "of the machine")
    running = a_resident()
    running.start()

    found = running.run(id, kind="shell", code="env")

    assert "MACHINE_TOKEN" not in text_of(found)
    assert SECRET not in text_of(found)


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({"kind": "argv"}, "argv"),
        ({"kind": "shell", "argv": ["ls"]}, "argv"),
        ({"kind": "basic"}, "kind"),
        ({"kind": "python", "code": "1", "kernel": "../up"}, "kernel"),
        ({"kind": "shell", "code": "x", "colour": "red"}, "colour"),
        ({"kind": "shell", "code": "x", "timeout_seconds": -1}, "timeout_seconds"),
        ({"kind": "shell", "code": "x", "cwd": "/workspace/not-there"}, "cwd"),
        ({"kind": "shell", "code": "x", "cwd": "../../../../etc"}, "cwd"),
        ({"kind": "argv", "argv": ["echo", "a\0b"]}, "argv"),
        ({"kind": "shell", "code": "x", "env": {"A=B": "c"}}, "env"),
    ],
)
def test_a_wrong_request_names_its_field_and_starts_nothing(
    resident: RunningResident, id: str, request_body: dict[str, object], field: str
) -> None:
    answer = resident.client.put(f"/executions/{id}", json=request_body)

    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field
    assert resident.client.get(f"/executions/{id}").status_code == 404


@pytest.mark.parametrize("wrong", ["..", ".hidden", "a%2Fb", "x" * 129, "a b", "é"])
def test_an_id_that_is_no_file_name_is_refused(resident: RunningResident, wrong: str) -> None:
    answer = resident.client.put(f"/executions/{wrong}", json={"kind": "shell", "code": "true"})

    assert answer.status_code in (404, 405, 422)


def test_a_program_that_is_not_there_says_so(resident: RunningResident, id: str) -> None:
    found = resident.run(id, kind="argv", argv=["no-such-program"])

    assert text_of(found, "stderr") == "no-such-program: command not found\n"
    assert found[-1]["code"] == 127


def test_a_shell_text_longer_than_any_argument_may_be_runs(resident: RunningResident, id: str) -> None:
    code = "# " + "x" * 3_000_000 + "\necho done"

    found = resident.run(id, kind="shell", code=code)

    assert text_of(found) == "done\n"


# detached Python


def test_detached_python_has_an_interpreter_of_its_own(resident: RunningResident, id: str) -> None:
    code = "import sys\nprint(__name__, 'get_ipython' in dir(), sys.argv == [__file__], repr(sys.path[0]))\n1 + 1"

    found = resident.run(id, kind="python", detached=True, code=code)

    assert text_of(found) == "__main__ False True ''\n"
    assert resident.view(id)["result"] is None


def test_a_traceback_of_detached_python_shows_the_lines_of_its_code_and_nothing_of_ours(
    resident: RunningResident, id: str
) -> None:
    code = "def outer():\n    raise ValueError('from here')\n\nouter()  # the call\n"

    found = resident.run(id, kind="python", detached=True, code=code)

    trace = text_of(found, "stderr")
    assert "outer()  # the call" in trace
    assert "raise ValueError('from here')" in trace
    assert "resident" not in trace
    assert found[-1]["code"] == 1


def test_detached_python_finds_modules_beside_it(resident: RunningResident, id: str) -> None:
    (resident.workspace / "a_module_of_theirs.py").write_text("value = 41 + 1")

    found = resident.run(id, kind="python", detached=True, code="import a_module_of_theirs as m; print(m.value)")

    assert text_of(found) == "42\n"


def test_detached_python_can_use_worker_processes(resident: RunningResident, id: str) -> None:
    code = (
        "import multiprocessing as mp\n"
        "def square(x): return x * x\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(2) as pool: print(pool.map(square, [1, 2, 3]))\n"
    )

    found = resident.run(id, kind="python", detached=True, code=code)

    assert text_of(found) == "[1, 4, 9]\n"


# output


def test_output_is_seen_while_the_program_still_runs(resident: RunningResident, id: str) -> None:
    code = "print('first'); input()"
    resident.client.put(f"/executions/{id}", json={"kind": "python", "detached": True, "code": code})

    with resident.client.stream("GET", f"/executions/{id}/journal?follow=true") as answer:
        records = map(json.loads, answer.iter_lines())
        seen = [next(records)]
        while text_of(seen) != "first\n":  # Python may write the line and its end one by one
            seen.append(next(records))
        running = resident.a_client().get(f"/executions/{id}").json()["state"]
        resident.a_client().post(f"/executions/{id}/stdin", content=b"\n")
        rest = list(records)

    assert running == "running"
    assert [record["s"] for record in rest] == ["exit"]


def test_output_on_both_pipes_keeps_its_order_when_it_comes_in_turns(resident: RunningResident, id: str) -> None:
    code = "for i in 1 2 3 4 5; do echo o$i; sleep 0.02; echo e$i >&2; sleep 0.02; done"

    found = resident.run(id, kind="shell", code=code)

    texts = "".join(record["d"] for record in found if "d" in record)
    assert texts == "".join(f"o{i}\ne{i}\n" for i in range(1, 6))


def test_bytes_that_are_no_text_come_back_equal(resident: RunningResident, id: str) -> None:
    found = resident.run(id, kind="shell", code=r"printf '\xff\xfe\x00abc'")

    assert b"".join(base64.b64decode(record["b64"]) for record in found if "b64" in record) == b"\xff\xfe\0abc"


def test_a_large_output_arrives_whole_and_the_resident_stays_small(resident: RunningResident, id: str) -> None:
    megabytes = 64
    code = f"import sys\nline = 'x' * 1023 + '\\n'\nfor _ in range({megabytes} * 1024): sys.stdout.write(line)"
    assert resident.process is not None
    process = psutil.Process(resident.process.pid)
    before = process.memory_info().rss

    resident.client.put(f"/executions/{id}", json={"kind": "python", "detached": True, "code": code})
    size, most = 0, before
    with resident.client.stream("GET", f"/executions/{id}/journal?follow=true") as answer:
        for piece in answer.iter_raw():
            size += len(piece)
            most = max(most, process.memory_info().rss)

    assert size > megabytes * 1024 * 1024
    assert most - before < 24 * 1024 * 1024


def test_a_reader_that_does_not_read_costs_no_memory_and_does_not_stop_the_program(
    resident: RunningResident, id: str
) -> None:
    assert resident.process is not None
    process = psutil.Process(resident.process.pid)
    before = process.memory_info().rss

    resident.client.put(f"/executions/{id}", json={"kind": "shell", "code": "yes | head -c 30000000"})
    with resident.a_client().stream("GET", f"/executions/{id}/journal?follow=true"):
        until(lambda: resident.view(id)["state"] == "ended")
        most = process.memory_info().rss

    assert resident.view(id)["exit_code"] == 0
    assert most - before < 24 * 1024 * 1024


def test_a_reader_that_resumes_at_its_offset_has_every_byte_once(resident: RunningResident, id: str) -> None:
    resident.run(id, kind="shell", code="seq 1 20000")
    whole = resident.client.get(f"/executions/{id}/journal").content

    copied = b""
    while len(copied) < len(whole):
        with resident.client.stream("GET", f"/executions/{id}/journal?after={len(copied)}&follow=true") as answer:
            for piece in answer.iter_raw(chunk_size=7919):
                copied += piece
                break

    assert hashlib.sha256(copied).digest() == hashlib.sha256(whole).digest()


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=999999999", "follow=perhaps"])
def test_a_wrong_offset_is_refused(resident: RunningResident, id: str, query: str) -> None:
    resident.run(id, kind="shell", code="true")

    answer = resident.client.get(f"/executions/{id}/journal?{query}")

    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == query.partition("=")[0]


def test_a_full_journal_leaves_output_out_and_keeps_the_exit(
    a_resident: Callable[..., RunningResident], id: str
) -> None:
    running = a_resident(residence={"journal_limit_bytes": 50_000})
    running.start()

    found = running.run(id, kind="shell", code="seq 1 100000; exit 5")

    assert [record["s"] for record in found[-2:]] == ["elided", "exit"]
    assert found[-1]["code"] == 5
    assert len(text_of(found)) + found[-2]["bytes"] == len("".join(f"{n}\n" for n in range(1, 100_001)))


# standard input


def test_what_is_typed_reaches_the_program_until_its_end(resident: RunningResident, id: str) -> None:
    resident.client.put(f"/executions/{id}", json={"kind": "argv", "argv": ["cat"]})

    first = resident.client.post(f"/executions/{id}/stdin", content=b"one\n")
    last = resident.client.post(f"/executions/{id}/stdin?eof=true", content=b"two\n")
    found = resident.records(id)

    assert (first.status_code, last.status_code) == (204, 204)
    assert text_of(found) == "one\ntwo\n"
    assert found[-1]["code"] == 0


def test_more_input_than_a_pipe_holds_arrives(resident: RunningResident, id: str) -> None:
    resident.client.put(f"/executions/{id}", json={"kind": "argv", "argv": ["sha256sum"]})
    data = os.urandom(3_000_000)

    resident.client.post(f"/executions/{id}/stdin?eof=true", content=data)

    assert text_of(resident.records(id)).split()[0] == hashlib.sha256(data).hexdigest()


def test_input_after_its_end_is_refused(resident: RunningResident, id: str) -> None:
    resident.client.put(f"/executions/{id}", json={"kind": "shell", "code": "cat; sleep 60"})
    resident.client.post(f"/executions/{id}/stdin?eof=true", content=b"")

    again = resident.client.post(f"/executions/{id}/stdin", content=b"more")
    resident.client.post(f"/executions/{id}/signal", json={"signal": "KILL"})
    resident.records(id)
    ended = resident.client.post(f"/executions/{id}/stdin", content=b"more")

    assert again.status_code == 409
    assert ended.status_code == 409


# signals, timeouts, process trees


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143), ("KILL", 137)])
def test_a_signal_ends_the_whole_tree(resident: RunningResident, id: str, name: str, code: int) -> None:
    script = (
        "setsid bash -c 'echo $$ > far-pid; exec sleep 600' & "
        "bash -c 'echo $$ > near-pid; exec sleep 600' & "
        # it tells when it can be interrupted: a Python that is still starting ends with 1 instead
        'python3 -c \'import os, time; print(os.getpid(), file=open("front-pid", "w"), flush=True); time.sleep(600)\''
    )
    for file in ("far-pid", "near-pid", "front-pid"):
        (resident.workspace / file).unlink(missing_ok=True)
    resident.client.put(f"/executions/{id}", json={"kind": "shell", "code": script})
    pids = [pid_from(resident.workspace / file) for file in ("far-pid", "near-pid", "front-pid")]

    answer = resident.client.post(f"/executions/{id}/signal", json={"signal": name})
    found = resident.records(id)

    assert answer.status_code == 202
    assert (found[-1]["code"], found[-1]["reason"]) == (code, "cancelled")
    if name == "INT":  # which background programs of a script ignore, as everywhere
        resident.client.post(f"/executions/{id}/signal", json={"signal": "KILL"})
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))


def test_a_signal_to_an_ended_execution_does_nothing(resident: RunningResident, id: str) -> None:
    resident.run(id, kind="shell", code="true")

    answer = resident.client.post(f"/executions/{id}/signal", json={"signal": "TERM"})

    assert answer.status_code == 204


def test_an_unknown_signal_is_refused(resident: RunningResident, id: str) -> None:
    resident.run(id, kind="shell", code="true")

    answer = resident.client.post(f"/executions/{id}/signal", json={"signal": "STOP"})

    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "signal"


def test_a_program_that_catches_term_may_say_goodbye(resident: RunningResident, id: str) -> None:
    code = "trap 'echo bye; exit 0' TERM; echo ready; sleep 600 & wait"
    resident.client.put(f"/executions/{id}", json={"kind": "shell", "code": code})
    until(lambda: "ready" in text_of(resident.records(id, follow=False)))

    resident.client.post(f"/executions/{id}/signal", json={"signal": "TERM"})
    found = resident.records(id)

    assert text_of(found) == "ready\nbye\n"
    assert (found[-1]["code"], found[-1]["reason"]) == (0, "cancelled")


def test_a_timeout_ends_even_those_who_ignore_it(resident: RunningResident, id: str) -> None:
    (resident.workspace / "stubborn-pid").unlink(missing_ok=True)
    code = "trap '' TERM; (trap '' TERM; echo $BASHPID > stubborn-pid; while :; do sleep 1; done) & wait"

    found = resident.run(id, kind="shell", code=code, timeout_seconds=0.5)

    assert (found[-1]["code"], found[-1]["reason"]) == (124, "timeout")
    assert not alive(pid_from(resident.workspace / "stubborn-pid"))


def test_a_program_killed_by_others_is_told_apart(resident: RunningResident, id: str) -> None:
    found = resident.run(id, kind="shell", code="kill -KILL $$")

    assert (found[-1]["code"], found[-1]["reason"]) == (137, "killed")


def test_a_program_left_in_the_background_lives_on_and_ends_with_the_resident(
    a_resident: Callable[..., RunningResident], id: str
) -> None:
    running = a_resident()
    running.start()
    code = "(while :; do echo noise; sleep 0.05; done) & echo $! > background-pid; echo started"

    found = running.run(id, kind="shell", code=code)
    pid = pid_from(running.workspace / "background-pid")
    lived_on = alive(pid)
    running.stop()

    assert "started\n" in text_of(found)
    assert found[-1]["code"] == 0
    assert lived_on
    assert not alive(pid)


def test_an_orphan_that_ended_is_reaped(resident: RunningResident, id: str) -> None:
    (resident.workspace / "orphan-pid").unlink(missing_ok=True)

    resident.run(id, kind="shell", code="setsid bash -c 'echo $$ > orphan-pid; sleep 0.1' > /dev/null 2>&1 &")
    pid = pid_from(resident.workspace / "orphan-pid")

    until(lambda: not psutil.pid_exists(pid))


# the list, and forgetting


def test_executions_are_listed_the_oldest_first(resident: RunningResident) -> None:
    ids = [f"listed_{n}" for n in range(3)]
    for one in ids:
        resident.run(one, kind="shell", code="true")

    listed = [view["id"] for view in resident.client.get("/executions").json()]

    assert [one for one in listed if one in ids] == ids


def test_an_ended_execution_can_be_forgotten(resident: RunningResident, id: str) -> None:
    resident.run(id, kind="shell", code="true")

    answer = resident.client.delete(f"/executions/{id}")

    assert answer.status_code == 204
    assert resident.client.get(f"/executions/{id}").status_code == 404
    assert not (resident.state / "executions" / id).exists()


def test_a_running_execution_is_not_forgotten(resident: RunningResident, id: str) -> None:
    resident.client.put(f"/executions/{id}", json={"kind": "argv", "argv": ["sleep", "600"]})

    answer = resident.client.delete(f"/executions/{id}")
    resident.client.post(f"/executions/{id}/signal", json={"signal": "KILL"})

    assert answer.status_code == 409


def test_many_at_once_all_end_with_their_own_output(resident: RunningResident) -> None:
    ids = [f"many_{n}" for n in range(40)]

    def start(one: str) -> None:
        with resident.a_client() as client:
            client.put(f"/executions/{one}", json={"kind": "shell", "code": f"echo {one}; exit 4"})

    threads = [threading.Thread(target=start, args=(one,)) for one in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for one in ids:
        found = resident.records(one)
        assert text_of(found) == f"{one}\n"
        assert found[-1]["code"] == 4


def test_ended_executions_hold_no_file_open(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident()
    running.start()
    assert running.process is not None
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (60, 60))

    for n in range(80):
        found = running.run(f"holds_{n}", kind="shell", code="true")
        assert found[-1]["code"] == 0


def test_an_instance_is_active_while_something_runs_in_it(resident: RunningResident, id: str) -> None:
    resident.client.put(f"/executions/{id}", json={"kind": "argv", "argv": ["sleep", "600"]})
    first = time.time()

    until(lambda: resident.client.get("/samples").json()["active_at"] > first)

    resident.client.post(f"/executions/{id}/signal", json={"signal": "KILL"})
    resident.records(id)


def test_a_client_that_goes_away_loses_nothing(resident: RunningResident, id: str) -> None:
    gone = resident.a_client()
    gone.put(f"/executions/{id}", json={"kind": "shell", "code": "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done"})
    with gone.stream("GET", f"/executions/{id}/journal?follow=true") as answer:
        next(answer.iter_raw())
    gone.close()

    found = resident.records(id)

    assert text_of(found) == "1\n2\n3\n4\n5\n"


def test_a_body_that_is_not_json_is_malformed(resident: RunningResident, id: str) -> None:
    answer: httpx.Response = resident.client.put(f"/executions/{id}", content=b"{")

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


def test_64_mib_of_code_are_taken(resident: RunningResident) -> None:
    code = "#" + "x" * (64 * 1024 * 1024 - 9) + "\necho ok"

    found = resident.run("large", kind="shell", code=code)

    assert text_of(found) == "ok\n"
