"""Python in kernels that keep their state: real ipykernel processes behind a real resident."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.resident.running import RunningResident, text_of, until


@pytest.fixture(name="id")
def a_new_id() -> str:
    return f"exec_{uuid.uuid4().hex[:12]}"


def cell(resident: RunningResident, code: str, **request: Any) -> list[dict[str, Any]]:
    return resident.run(f"exec_{uuid.uuid4().hex[:12]}", kind="python", code=code, **request)


def begin(resident: RunningResident, id: str, code: str, **request: Any) -> None:
    answer = resident.client.put(f"/executions/{id}", json={"kind": "python", "code": code, **request})
    assert answer.status_code == 201


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [record["s"] for record in found]


def kernel_pid(resident: RunningResident, kernel: str = "main") -> int:
    return int(text_of(cell(resident, "import os; print(os.getpid())", kernel=kernel)))


def seen(resident: RunningResident, id: str, text: str) -> bool:
    return text in text_of(resident.records(id, follow=False))


def test_a_kernel_keeps_its_state_between_executions(resident: RunningResident, id: str) -> None:
    cell(resident, "x = 20")

    found = resident.run(id, kind="python", code="x += 1\nx * 2")

    assert kinds(found) == ["result", "exit"]
    assert found[0]["text"] == "42"
    assert resident.view(id)["result"] == "42"
    assert resident.view(id)["exit_code"] == 0


def test_kernels_do_not_share_their_state(resident: RunningResident) -> None:
    cell(resident, "only_here = 1", kernel="one")

    found = cell(resident, "only_here", kernel="two")

    assert found[0]["ename"] == "NameError"


def test_an_error_shows_the_line_of_the_code(resident: RunningResident) -> None:
    found = cell(resident, "def broken():\n    return 1 / 0  # here\n\nbroken()")

    assert kinds(found) == ["error", "exit"]
    assert found[0]["ename"] == "ZeroDivisionError"
    assert "return 1 / 0  # here" in found[0]["traceback"]
    assert "\x1b[" not in found[0]["traceback"]
    assert (found[-1]["code"], found[-1]["reason"]) == (1, "")


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('no data')", 1, "no data\n"), ("sys.exit(0)", 0, "")],
)
def test_sys_exit_gives_the_exit_code_and_leaves_the_kernel_alone(
    resident: RunningResident, call: str, code: int, told: str
) -> None:
    cell(resident, "stays = 1")

    found = cell(resident, f"import sys\n{call}")

    assert "error" not in kinds(found)
    assert text_of(found, "stderr") == told
    assert found[-1]["code"] == code
    assert cell(resident, "stays")[0]["text"] == "1"


def test_stdout_and_stderr_keep_their_order(resident: RunningResident) -> None:
    found = cell(resident, "import sys\nfor i in range(50): print('o', i); print('e', i, file=sys.stderr)")

    assert "".join(r["d"] for r in found if "d" in r) == "".join(f"o {i}\ne {i}\n" for i in range(50))


def test_pictures_and_updates_keep_their_place_between_lines(resident: RunningResident) -> None:
    code = (
        "from IPython.display import display, update_display, clear_output\n"
        "print('before')\n"
        "display({'text/plain': 'first', 'image/png': 'AAAA'}, raw=True, display_id='d1', metadata={'width': 3})\n"
        "print('between')\n"
        "update_display({'text/plain': 'second'}, raw=True, display_id='d1')\n"
        "clear_output(wait=True)\n"
        "print('after')"
    )

    found = cell(resident, code)

    assert kinds(found) == ["stdout", "display", "stdout", "display", "clear", "stdout", "exit"]
    assert found[1]["data"] == {"text/plain": "first", "image/png": "AAAA"}
    assert found[1]["meta"] == {"width": 3}
    assert found[1]["id"] == "d1"
    assert found[3]["update"] == "d1"
    assert found[4]["wait"] is True


def test_output_of_child_processes_and_of_c_code_belongs_to_its_cell(resident: RunningResident) -> None:
    code = (
        "import os, subprocess, sys, ctypes\n"
        "print('python')\n"
        "subprocess.run(['echo', 'child'])\n"
        "subprocess.run(['echo', 'handed over'], stdout=sys.stdout)\n"
        "os.write(1, b'descriptor\\n')\n"
        "libc = ctypes.CDLL(None); libc.puts(b'from C'); libc.fflush(None)\n"
        "os.system('echo error >&2')\n"
        "None"
    )

    found = cell(resident, code)

    assert sorted(text_of(found).splitlines()) == ["child", "descriptor", "from C", "handed over", "python"]
    assert text_of(found, "stderr") == "error\n"


def test_characters_of_a_child_process_arrive_whole(resident: RunningResident) -> None:
    text = "€äß漢" * 30_000
    (resident.workspace / "characters.txt").write_text(text)

    found = cell(resident, "import subprocess; _ = subprocess.run(['cat', 'characters.txt'])")

    assert text_of(found) == text


def test_a_flood_of_output_arrives_whole_and_costs_neither_side_much_memory(resident: RunningResident) -> None:
    assert resident.process is not None
    process = psutil.Process(resident.process.pid)
    kernel = psutil.Process(kernel_pid(resident))
    before, kernel_before = process.memory_info().rss, kernel.memory_info().rss
    code = "line = 'x' * 1023\nfor _ in range(40 * 1024): print(line)"

    found = cell(resident, code)

    assert sum(len(record["d"]) for record in found if record["s"] == "stdout") == 40 * 1024 * 1024
    assert process.memory_info().rss - before < 40 * 1024 * 1024
    assert kernel.memory_info().rss - kernel_before < 40 * 1024 * 1024


def test_many_small_flushed_writes_all_arrive(resident: RunningResident) -> None:
    found = cell(resident, "for i in range(5000): print(i, flush=True)")

    assert text_of(found) == "".join(f"{i}\n" for i in range(5000))


def test_executions_of_one_kernel_run_one_after_another(resident: RunningResident) -> None:
    ids = [f"turn_{n}" for n in range(8)]
    begin(resident, "turn_first", "log = []; input()")

    for n, one in enumerate(ids):
        begin(resident, one, f"log.append({n}); log")
    waiting = [resident.view(one)["state"] for one in ids]
    resident.client.post("/executions/turn_first/stdin", content=b"\n")
    for one in ids:
        resident.records(one)

    assert waiting == ["running"] * 8
    assert resident.view(ids[-1])["result"] == "[0, 1, 2, 3, 4, 5, 6, 7]"


def test_an_error_does_not_stop_those_who_wait(resident: RunningResident) -> None:
    begin(resident, "error_first", "input(); 1 / 0")
    begin(resident, "error_second", "'still here'")

    resident.client.post("/executions/error_first/stdin", content=b"\n")
    found = resident.records("error_second")

    assert found[0]["text"] == "'still here'"


# standard input


def test_input_in_a_kernel_is_asked_for_and_answered(resident: RunningResident, id: str) -> None:
    begin(resident, id, "name = input('who? ')\nprint('hello', name)")
    asked = until(lambda: [r for r in resident.records(id, follow=False) if r["s"] == "input"])

    answer = resident.client.post(f"/executions/{id}/stdin", content="Zoë\n".encode())
    found = resident.records(id)

    assert (asked[0]["prompt"], asked[0]["password"]) == ("who? ", False)
    assert answer.status_code == 204
    assert text_of(found) == "hello Zoë\n"


def test_lines_typed_ahead_answer_one_input_each(resident: RunningResident, id: str) -> None:
    begin(resident, id, "a = input()\nb = input()\nc = input()\nprint(a, b, c)")

    resident.client.post(f"/executions/{id}/stdin", content=b"1\n2\n")
    resident.client.post(f"/executions/{id}/stdin", content=b"3\n")

    assert text_of(resident.records(id)) == "1 2 3\n"


def test_a_password_is_asked_for_as_one(resident: RunningResident, id: str) -> None:
    begin(resident, id, "import getpass\nlen(getpass.getpass('secret: '))")
    asked = until(lambda: [r for r in resident.records(id, follow=False) if r["s"] == "input"])

    resident.client.post(f"/executions/{id}/stdin", content=b"1234")
    resident.records(id)

    assert asked[0]["password"] is True
    assert resident.view(id)["result"] == "4"


def test_the_end_of_input_is_an_eof_error(resident: RunningResident, id: str) -> None:
    begin(resident, id, "input()")

    resident.client.post(f"/executions/{id}/stdin?eof=true", content=b"")
    found = resident.records(id)
    late = resident.client.post(f"/executions/{id}/stdin", content=b"x\n")

    assert [r["ename"] for r in found if r["s"] == "error"] == ["EOFError"]
    assert late.status_code == 409


# interrupts, timeouts, deaths


def test_an_interrupt_stops_the_cell_and_keeps_the_state(resident: RunningResident, id: str) -> None:
    cell(resident, "kept = 'kept'")
    begin(resident, id, "import time\nprint('going', flush=True)\nwhile True: time.sleep(0.01)")
    until(lambda: seen(resident, id, "going"))

    resident.client.post(f"/executions/{id}/signal", json={"signal": "INT"})
    found = resident.records(id)

    assert [r["ename"] for r in found if r["s"] == "error"] == ["KeyboardInterrupt"]
    assert (found[-1]["code"], found[-1]["reason"]) == (130, "cancelled")
    assert cell(resident, "kept")[0]["text"] == "'kept'"


def test_an_interrupt_right_after_the_start_is_not_lost(resident: RunningResident) -> None:
    for n in range(10):
        begin(resident, f"early_{n}", "import time; time.sleep(600)")
        resident.client.post(f"/executions/early_{n}/signal", json={"signal": "INT"})

        found = resident.records(f"early_{n}")

        assert (found[-1]["code"], found[-1]["reason"]) == (130, "cancelled")


def test_an_interrupt_stops_a_cell_that_waits_for_input(resident: RunningResident, id: str) -> None:
    begin(resident, id, "input('now? ')")
    until(lambda: "input" in kinds(resident.records(id, follow=False)))

    resident.client.post(f"/executions/{id}/signal", json={"signal": "INT"})

    assert resident.records(id)[-1]["reason"] == "cancelled"
    assert cell(resident, "'goes on'")[0]["text"] == "'goes on'"


def test_an_interrupt_reaches_the_program_a_cell_waits_for(resident: RunningResident, id: str) -> None:
    code = "import subprocess\nprint('going', flush=True)\nsubprocess.run(['sleep', '600'])"
    begin(resident, id, code)
    until(lambda: seen(resident, id, "going"))

    resident.client.post(f"/executions/{id}/signal", json={"signal": "INT"})

    assert resident.records(id)[-1]["reason"] == "cancelled"


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_term_and_kill_restart_the_kernel(resident: RunningResident, id: str, name: str) -> None:
    cell(resident, "lost = 1")
    begin(resident, id, "import time\nprint('going', flush=True)\ntime.sleep(600)")
    until(lambda: seen(resident, id, "going"))

    resident.client.post(f"/executions/{id}/signal", json={"signal": name})
    found = resident.records(id)

    assert found[-1]["reason"] == "cancelled"
    assert found[-1]["code"] != 0
    assert cell(resident, "lost")[0]["ename"] == "NameError"


def test_a_waiting_execution_is_cancelled_without_disturbing_the_one_that_runs(resident: RunningResident) -> None:
    begin(resident, "disturb_runs", "input()\n'done'")
    begin(resident, "disturb_waits", "raise SystemError('must not run')")

    resident.client.post("/executions/disturb_waits/signal", json={"signal": "TERM"})
    cancelled = resident.records("disturb_waits")
    resident.client.post("/executions/disturb_runs/stdin", content=b"\n")
    finished = resident.records("disturb_runs")

    assert kinds(cancelled) == ["exit"]
    assert cancelled[-1]["reason"] == "cancelled"
    assert finished[-1]["code"] == 0


def test_a_timeout_interrupts_the_cell(resident: RunningResident) -> None:
    cell(resident, "kept_too = 1")

    found = cell(resident, "import time; time.sleep(600)", timeout_seconds=0.3)

    assert (found[-1]["code"], found[-1]["reason"]) == (124, "timeout")
    assert cell(resident, "kept_too")[0]["text"] == "1"


def test_a_cell_that_ignores_its_timeout_loses_its_kernel(resident: RunningResident) -> None:
    code = "import time\nwhile True:\n    try: time.sleep(600)\n    except KeyboardInterrupt: print('never')"

    found = cell(resident, code, timeout_seconds=0.3, kernel="stubborn")

    assert text_of(found) == "never\n"
    assert (found[-1]["code"], found[-1]["reason"]) == (124, "timeout")
    assert cell(resident, "'fresh'", kernel="stubborn")[0]["text"] == "'fresh'"


def test_a_kernel_that_dies_says_so_and_the_next_execution_gets_a_fresh_one(resident: RunningResident, id: str) -> None:
    killed = cell(resident, "before = 1\nimport os; os.getpid()", kernel="mortal")
    begin(resident, id, "print('last words', flush=True)\nimport time; time.sleep(600)", kernel="mortal")
    until(lambda: seen(resident, id, "last words"))

    psutil.Process(int(killed[-2]["text"])).kill()
    dead = resident.records(id)
    after = cell(resident, "before", kernel="mortal")

    assert text_of(dead) == "last words\n"
    assert (dead[-1]["code"], dead[-1]["reason"]) == (137, "kernel_died")
    assert after[0]["ename"] == "NameError"


def test_a_crash_in_c_code_leaves_a_python_traceback(resident: RunningResident) -> None:
    found = cell(resident, "import ctypes; ctypes.string_at(0)", kernel="crashing")

    assert "Segmentation fault" in text_of(found, "stderr")
    assert "string_at" in text_of(found, "stderr")
    assert found[-1]["reason"] == "kernel_died"


def test_exit_in_a_cell_ends_the_kernel_and_not_the_next_execution(resident: RunningResident) -> None:
    first = cell(resident, "leaving = 1\nexit()", kernel="leaver")

    second = cell(resident, "leaving", kernel="leaver")

    assert first[-1]["code"] == 0
    assert second[0]["ename"] == "NameError"


def test_what_a_kernel_started_ends_with_it(resident: RunningResident) -> None:
    found = cell(resident, "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid)", kernel="parent")
    child = int(text_of(found))

    resident.client.delete("/kernels/parent")

    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


# variables and directories


def test_variables_and_directory_of_one_execution_are_gone_in_the_next(resident: RunningResident) -> None:
    (resident.workspace / "elsewhere").mkdir(exist_ok=True)
    code = "import os; print(os.environ.get('FOR_ONE'), os.path.basename(os.getcwd()))"

    during = cell(resident, code, env={"FOR_ONE": "yes"}, cwd="/workspace/elsewhere")
    after = cell(resident, code)

    assert text_of(during) == "yes elsewhere\n"
    assert text_of(after) == "None workspace\n"


def test_a_kernel_leaves_no_name_of_ours_with_the_user(resident: RunningResident) -> None:
    found = cell(resident, "import sys\n[n for n in dir() if 'gpuyard' in n], '' in sys.path", env={"A": "1"})

    assert found[0]["text"] == "([], True)"


def test_a_module_in_the_work_directory_can_be_imported(resident: RunningResident) -> None:
    (resident.workspace / "module_in_workspace.py").write_text("value = 7")

    found = cell(resident, "import module_in_workspace; module_in_workspace.value")

    assert found[0]["text"] == "7"


# the kernels themselves


def test_a_kernel_is_started_listed_and_removed(resident: RunningResident) -> None:
    made = resident.client.post("/kernels", json={"id": "mine", "env": {"OF_KERNEL": "k"}})
    again = resident.client.post("/kernels", json={"id": "mine"})
    until(lambda: resident.client.get("/kernels/mine").json()["state"] == "idle")
    found = cell(resident, "import os; os.environ['OF_KERNEL']", kernel="mine")
    shown = resident.client.get("/kernels/mine").json()
    removed = resident.client.delete("/kernels/mine")

    assert (made.status_code, made.json()["state"]) == (201, "starting")
    assert again.status_code == 200
    assert found[0]["text"] == "'k'"
    assert (shown["state"], shown["executions"]) == ("idle", 1)
    assert removed.status_code == 204
    assert resident.client.get("/kernels/mine").status_code == 404
    assert "mine" not in [kernel["id"] for kernel in resident.client.get("/kernels").json()]


@pytest.mark.parametrize("name", ["RESTART", "TERM", "KILL"])
def test_what_comes_after_a_restart_starts_afresh(resident: RunningResident, name: str) -> None:
    for _ in range(3):
        cell(resident, "gone = bytearray(300_000_000)", kernel="again")  # a process of that size takes a while to end

        answer = resident.client.post("/kernels/again/signal", json={"signal": name})
        found = cell(resident, "gone", kernel="again")

        assert answer.status_code == 202
        assert [record.get("ename", record["s"]) for record in found] == ["NameError", "exit"]
        assert (found[-1]["code"], found[-1]["reason"]) == (1, "")


def test_a_kernels_journal_has_all_its_output_with_who_caused_it(resident: RunningResident) -> None:
    for n in range(3):
        resident.run(f"parent_{n}", kind="python", code=f"print('p', {n})", kernel="journalled")

    answer = resident.client.get("/kernels/journalled/journal")
    found = [json.loads(line) for line in answer.content.splitlines()]

    # A line may come in several records: a stream is flushed by the clock, also between the words of one `print`.
    parents = list(dict.fromkeys(record["parent"] for record in found))
    assert parents == [f"parent_{n}" for n in range(3)]
    assert [text_of([r for r in found if r["parent"] == parent]) for parent in parents] == ["p 0\n", "p 1\n", "p 2\n"]
    assert text_of(found, "stderr") == ""


def test_what_a_thread_prints_after_its_cell_is_in_the_kernels_journal(resident: RunningResident, id: str) -> None:
    code = (
        "import threading, time, os\n"
        "def late():\n"
        "    while not os.path.exists('go-on'): time.sleep(0.01)\n"
        "    print('late')\n"
        "threading.Thread(target=late).start()"
    )
    (resident.workspace / "go-on").unlink(missing_ok=True)
    resident.run(id, kind="python", code=code, kernel="threaded")

    (resident.workspace / "go-on").touch()

    until(lambda: b'"late\\n"' in resident.client.get("/kernels/threaded/journal").content)


def test_a_kernel_starts_where_the_path_of_its_state_is_long(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident()
    running.config["residence"]["state"] = str(running.place / ("long-" * 30))
    running.start()

    found = cell(running, "6 * 7")

    assert found[0]["text"] == "42"
