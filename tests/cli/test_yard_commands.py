"""`up`, `down`, `status`, `login`, `doctor`: a yard of one's own, or the way to another's."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess

import pytest

from tests.cli.conftest import PROGRAM, Seat, eventually


def url_in(text: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert found, text
    return found[0]


def test_up_in_the_foreground_says_what_there_is_and_ends_with_ctrl_c(newcomer: Seat) -> None:
    up = newcomer.start("up", "--port", "0", "--simulate", "nvidia-rtx-3090=1")
    up.says("Ctrl-C stops it")

    up.press()

    assert up.ends() == 0
    assert "owner key, shown this once: sk_compute_" in up.text
    assert "1× NVIDIA GeForce RTX 3090" in up.text
    assert "simulated" in up.text
    assert newcomer.gpuyard("offers").status == 69


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_up_ends_its_server_however_it_is_told_to_end(newcomer: Seat, number: signal.Signals) -> None:
    up = newcomer.start("up", "--port", "0")
    up.says("Ctrl-C stops it")

    up.press(number)

    assert up.ends() == 0
    assert not (newcomer.home / "data" / "server.json").exists()


def test_the_owner_key_is_shown_on_the_first_start_alone(newcomer: Seat) -> None:
    first = newcomer.good("up", "-d", "--port", "0")
    newcomer.good("down")

    second = newcomer.good("up", "-d", "--port", "0")

    assert "owner key" in first.out
    assert "owner key" not in second.out


def test_after_up_every_command_finds_the_yard_by_itself(newcomer: Seat) -> None:
    newcomer.good("up", "-d", "--port", "0")

    assert newcomer.good("status", "--json").json["instances"] == {"running": 0, "waiting": 0, "active": 0}


def test_up_with_json_gives_url_key_offers_and_warnings(newcomer: Seat) -> None:
    value = newcomer.good("up", "-d", "--port", "0", "--json").json

    assert value["url"].startswith("http://127.0.0.1:")
    assert value["owner_key"].startswith("sk_compute_")
    assert all(offer["simulated"] for offer in value["offers"] if offer["gpu_type"] != "cpu")
    assert value["providers"][0]["name"] == "local"


def test_the_owners_key_can_be_chosen(newcomer: Seat) -> None:
    newcomer.extra["GPUYARD_OWNER_KEY"] = "sk_compute_chosen_by_the_owner_1234"
    url = url_in(newcomer.good("up", "-d", "--port", "0").out)
    del newcomer.extra["GPUYARD_OWNER_KEY"]

    ran = newcomer.gpuyard("status", "--url", url, "--api-key", "sk_compute_chosen_by_the_owner_1234")

    assert ran.status == 0, ran


def test_down_says_how_many_instances_run_on_and_up_has_them_again(newcomer: Seat) -> None:
    newcomer.good("up", "-d", "--port", "0", "--simulate", "nvidia-rtx-3090=1")
    newcomer.good("instances", "create", "--gpu", "rtx-3090", "--name", "stays")

    down = newcomer.good("down")
    newcomer.good("up", "-d", "--port", "0", "--simulate", "nvidia-rtx-3090=1")

    assert "1 instance runs on" in down.out
    assert newcomer.good("instances", "exec", "stays", "--", "echo", "still here").out == "still here\n"


def test_down_without_a_yard_says_so(newcomer: Seat) -> None:
    assert "no yard runs in" in newcomer.good("down").out


def test_a_second_up_on_the_same_data_is_refused_and_the_first_unharmed(newcomer: Seat) -> None:
    newcomer.good("up", "-d", "--port", "0")

    ran = newcomer.gpuyard("up", "-d", "--port", "0")

    assert ran.status == 80
    assert "another server" in ran.err
    assert "hint: " in ran.err
    newcomer.good("status")


def test_a_port_in_use_is_an_error_that_names_it(newcomer: Seat) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ran = newcomer.gpuyard("up", "-d", "--port", str(port))

    assert ran.status == 78
    assert f"error: port {port}" in ran.err or f":{port}" in ran.err
    assert "hint: " in ran.err


@pytest.mark.parametrize(
    ("text", "named"),
    [("port: many\n", "port"), ("prot: 1\n", "prot"), ("a: [\n", "gpuyard.yaml"), ("- 1\n", "settings")],
)
def test_a_wrong_settings_file_is_an_error_that_names_what_is_wrong(newcomer: Seat, text: str, named: str) -> None:
    config = newcomer.cwd / "gpuyard.yaml"
    config.write_text(text)

    ran = newcomer.gpuyard("up", "-d", "--config", config)

    assert ran.status == 78
    assert named in ran.err
    assert "Traceback" not in ran.err


def test_a_data_directory_that_is_a_file_is_refused(newcomer: Seat) -> None:
    (newcomer.cwd / "file").write_text("")

    ran = newcomer.gpuyard("up", "-d", "--data", newcomer.cwd / "file")

    assert ran.status == 73
    assert str(newcomer.cwd / "file") in ran.err


def test_up_killed_before_it_is_ready_leaves_no_server(newcomer: Seat) -> None:
    up = newcomer.start("up", "-d", "--port", "0")
    eventually(lambda: (newcomer.home / "yard.log").exists() or up.process.poll() is not None, lambda: up.text)

    up.press()

    assert up.ends() in (0, 130)
    if up.process.returncode == 130:
        assert not (newcomer.home / "data" / "server.json").exists()


def test_without_a_yard_commands_say_how_to_get_one(newcomer: Seat) -> None:
    ran = newcomer.gpuyard("instances", "ls")

    assert ran.status == 78
    assert "gpuyard up" in ran.err


def test_a_yard_that_does_not_answer_is_told_apart_from_a_wrong_key(seat: Seat) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{free.getsockname()[1]}"

    gone = seat.gpuyard("status", "--url", silent, "--api-key", "sk_compute_x")
    url = seat.good("status", "--json").json["url"]
    wrong = seat.gpuyard("status", "--url", url, "--api-key", "sk_compute_wrong")

    assert (gone.status, wrong.status) == (69, 77)


def test_login_tries_the_key_and_keeps_it_for_its_owner_alone(seat: Seat, newcomer: Seat) -> None:
    url = seat.good("status", "--json").json["url"]
    secret = seat.good("keys", "create", "--json").json["secret"]

    newcomer.good("login", url, "--key", secret)

    kept = newcomer.home / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert newcomer.good("status", "--json").json["url"] == url
    kept.unlink()


def test_login_with_a_wrong_key_keeps_nothing(seat: Seat, newcomer: Seat) -> None:
    url = seat.good("status", "--json").json["url"]

    ran = newcomer.gpuyard("login", url, "--key", "sk_compute_wrong")

    assert ran.status == 77
    assert not (newcomer.home / "credentials.json").exists()


def test_url_and_key_come_from_options_then_environment_then_the_file(seat: Seat, newcomer: Seat) -> None:
    url = seat.good("status", "--json").json["url"]
    secret = seat.good("keys", "create", "--json").json["secret"]
    newcomer.extra |= {"GPUYARD_URL": "http://127.0.0.1:1", "GPUYARD_API_KEY": "sk_compute_wrong"}

    assert newcomer.gpuyard("status").status == 69
    assert newcomer.gpuyard("status", "--url", url, "--api-key", secret).status == 0
    assert newcomer.gpuyard("--url", url, "--api-key", secret, "status").status == 0


def test_doctor_is_content_with_a_running_yard(seat: Seat) -> None:
    ran = seat.gpuyard("doctor")

    assert ran.status == 0, ran
    assert "✓ yard: " in ran.out
    assert "✓ key: is owner's" in ran.out


def test_doctor_calls_a_wrong_key_fatal_and_says_what_to_do(seat: Seat) -> None:
    ran = seat.gpuyard("doctor", "--api-key", "sk_compute_wrong")

    assert ran.status == 1
    assert "✗ yard: " in ran.out
    assert "gpuyard login" in ran.out


def test_doctor_calls_an_unusable_home_fatal(newcomer: Seat) -> None:
    newcomer.home.write_text("a file")

    ran = newcomer.gpuyard("doctor", "--json")

    levels = {finding["check"]: finding["level"] for finding in ran.json["findings"]}
    assert ran.status == 1
    assert levels["home"] == "fatal"


def test_doctor_without_a_yard_is_no_failure(newcomer: Seat) -> None:
    assert newcomer.gpuyard("doctor").status == 0


def test_doctor_checks_python_git_sandbox_gpus_libraries_disk_and_port(newcomer: Seat) -> None:
    checks = {finding["check"] for finding in newcomer.good("doctor", "--json").json["findings"]}

    assert checks >= {
        "python",
        "git",
        "server",
        "sandbox",
        "gpus",
        "home",
        "data",
        "disk",
        "port",
        "postgresql",
        "yard",
    }


def test_corrupt_credentials_are_named_with_the_remedy(newcomer: Seat) -> None:
    newcomer.home.mkdir(parents=True)
    (newcomer.home / "credentials.json").write_text("{")

    ran = newcomer.gpuyard("offers")

    assert "credentials.json" in ran.err
    assert "hint: " in ran.err
    assert "Traceback" not in ran.err


def test_without_the_servers_libraries_run_says_what_to_install(newcomer: Seat) -> None:
    blocked = newcomer.cwd / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('sqlalchemy', 'fastapi', 'alembic'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    newcomer.extra["PYTHONPATH"] = str(blocked)

    ran = newcomer.gpuyard("run", "--", "true")

    assert ran.status == 78, ran
    assert "pip install 'gpuyard[server]'" in ran.err


def test_errors_are_two_lines_and_debugging_adds_the_traceback(newcomer: Seat) -> None:
    plain = newcomer.gpuyard("offers")
    newcomer.extra["GPUYARD_DEBUG"] = "1"
    debugged = newcomer.gpuyard("offers")

    assert [line.partition(":")[0] for line in plain.err.splitlines()] == ["error", "hint"]
    assert "Traceback" in debugged.err


def test_errors_as_json_are_one_object_with_the_exit_status(newcomer: Seat) -> None:
    for words in (["offers", "--json"], ["--json", "offers"], ["--json", "frobnicate"], ["run", "--json"]):
        ran = newcomer.gpuyard(*words)

        error = json.loads(ran.out)["error"]
        assert error["exit_status"] == ran.status
        assert error["code"]
        assert error["message"]


def test_a_reader_that_stops_reading_is_no_error(seat: Seat) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [PROGRAM, "offers"], env=seat.environment, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)

    assert "Traceback" not in done.stderr


def test_help_needs_neither_the_sdk_nor_a_yard(newcomer: Seat) -> None:
    ran = newcomer.good("--help")

    assert "  run " in ran.out
    assert "130  Ctrl-C" in ran.out


def test_help_imports_nothing_heavy(newcomer: Seat) -> None:
    newcomer.extra["PYTHONPROFILEIMPORTTIME"] = "1"

    ran = newcomer.good("--help")

    imported = {line.rpartition("|")[2].strip() for line in ran.err.splitlines()}
    assert imported.isdisjoint({"httpx", "pydantic", "gpuyard.sdk", "rich.console", "fastapi", "gpuyard.server"})


def test_completion_knows_commands_gpus_and_instances(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-4090", "--name", "unmistakable")

    def completes(line: str) -> list[str]:
        words = line.split(" ")
        seat.extra |= {"_GPUYARD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        ran = seat.gpuyard()
        for name in ("_GPUYARD_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
            del seat.extra[name]
        return ran.out.split()

    assert "instances" in completes("gpuyard ins")
    assert "nvidia-rtx-3090" in completes("gpuyard run --gpu nvidia-rtx-30")
    assert "unmistakable" in completes("gpuyard instances show unm")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_come_for_every_usual_shell(newcomer: Seat, shell: str) -> None:
    assert "_GPUYARD_COMPLETE" in newcomer.good("completion", shell).out


def test_up_takes_over_from_the_idle_yard_that_a_run_left(newcomer: Seat) -> None:
    newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--", "true")

    up = newcomer.good("up", "-d", "--port", "0")

    assert "taking over from the yard that `gpuyard run` started" in (up.out + up.err)
    assert newcomer.good("instances", "ls").status == 0


def test_up_leaves_a_run_alone_that_still_uses_the_yard(newcomer: Seat) -> None:
    newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--detach", "--", "sleep", "60")

    up = newcomer.gpuyard("up", "-d", "--port", "0")

    assert up.status == 80
    assert "in use: 1 instance" in (up.out + up.err)
    assert "gpuyard down" in (up.out + up.err)
