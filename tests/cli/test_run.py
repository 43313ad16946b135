"""`gpuyard run`: from a script here to its results here, and nothing left over there."""

from __future__ import annotations

import json
import zipfile

import joblib
import pytest
from sklearn.datasets import load_digits

from tests.cli.conftest import EXAMPLES, Seat

GPU = ("--gpu", "nvidia-rtx-4090")


def test_the_demo_trains_a_classifier_and_brings_it_home(seat: Seat) -> None:
    ran = seat.gpuyard(
        "run",
        EXAMPLES / "digits.py",
        "--gpu",
        "nvidia-rtx-3090",
        "--out",
        "model.joblib",
        "--max-cost",
        "1",
        timeout=120,
    )

    assert ran.status == 0, ran
    assert "accuracy 0.9" in ran.out
    assert "RTX 3090" in ran.out
    assert "simulated" in ran.err
    pictures, labels = load_digits(return_X_y=True)
    assert joblib.load(seat.cwd / "model.joblib").score(pictures, labels) > 0.95
    assert seat.instances() == []


def test_the_bill_says_where_the_time_went_and_who_provided(seat: Seat) -> None:
    ran = seat.good("run", *GPU, "--", "true")

    for word in ("provided by", "local", "wait", "start", "run", "per hour", "cost"):
        assert word in ran.err


def test_a_script_finds_its_uploads_where_they_are_here(seat: Seat) -> None:
    (seat.cwd / "data").mkdir()
    (seat.cwd / "data" / "in.txt").write_text("21")
    seat.script("double.py", "import sys; open('out.txt', 'w').write(str(2 * int(open(sys.argv[1]).read())))")

    seat.good("run", "double.py", "data/in.txt", *GPU, "--upload", "data", "--out", "out.txt")

    assert (seat.cwd / "out.txt").read_text() == "42"


def test_a_folder_of_results_lands_in_the_folder_of_that_name(seat: Seat) -> None:
    (seat.cwd / "results").mkdir()
    (seat.cwd / "results" / "old.txt").write_text("kept")
    seat.script("write.py", "import os; os.makedirs('results'); open('results/new.txt', 'w').write('new')")

    seat.good("run", "write.py", *GPU, "--out", "results")

    assert {path.name for path in (seat.cwd / "results").iterdir()} == {"old.txt", "new.txt"}


def test_output_arrives_byte_for_byte_each_stream_on_its_own(seat: Seat) -> None:
    seat.script("speak.py", "import sys; sys.stdout.write('a\\tb\\n\\x1b[1mc'); sys.stderr.write('[red]d[/red] é\\n')")

    ran = seat.good("run", "speak.py", *GPU, "--quiet")

    assert (ran.out, ran.err) == ("a\tb\n\x1b[1mc", "[red]d[/red] é\n")


def test_the_scripts_exit_status_is_ours(seat: Seat) -> None:
    ran = seat.gpuyard("run", seat.script("fail.py", "raise SystemExit(7)"), *GPU)

    assert ran.status == 7
    assert seat.instances() == []


def test_a_script_killed_by_a_signal_ends_as_in_a_shell(seat: Seat) -> None:
    ran = seat.gpuyard("run", *GPU, "--", "bash", "-c", "kill -KILL $$")

    assert ran.status == 137


def test_a_failing_scripts_results_are_brought_home_as_far_as_there_are_any(seat: Seat) -> None:
    seat.script("half.py", "open('log.txt', 'w').write('so far'); raise SystemExit(3)")

    ran = seat.gpuyard("run", "half.py", *GPU, "--out", "log.txt", "--out", "model.pt")

    assert ran.status == 3
    assert (seat.cwd / "log.txt").read_text() == "so far"


def test_a_result_that_was_not_written_is_an_error(seat: Seat) -> None:
    ran = seat.gpuyard("run", *GPU, "--out", "model.pt", "--", "true")

    assert ran.status == 66
    assert "error: the script wrote no model.pt" in ran.err
    assert seat.instances() == []


def test_arguments_environment_name_and_labels_reach_the_instance(seat: Seat) -> None:
    seat.script(
        "show.py", "import os, sys; print(sys.argv[1:], os.environ['COLOR'], os.environ['GPUYARD_INSTANCE_NAME'])"
    )

    ran = seat.good(
        "run", "show.py", *GPU, "--env", "COLOR=blue", "--name", "painter", "--quiet", "--", "-v", "--epochs=5"
    )

    assert ran.out == "['-v', '--epochs=5'] blue painter\n"


def test_several_gpu_types_come_in_one_instance(seat: Seat) -> None:
    ran = seat.good("run", "--gpu", "nvidia-rtx-3090,nvidia-rtx-4090:2", "-q", "--", "nvidia-smi", "-L")

    assert ran.out.count("RTX 4090") == 2
    assert ran.out.count("RTX 3090") == 1


def test_with_json_standard_output_is_one_object(seat: Seat) -> None:
    ran = seat.good("run", "--json", *GPU, "--out", "a.txt", "--", "bash", "-c", "echo spoken; echo 1 > a.txt")

    value = json.loads(ran.out)
    assert value["exit_status"] == value["exit_code"] == 0
    assert value["instance"]["simulated"] is True
    assert value["downloads"] == [{"from": "a.txt", "to": str(seat.cwd / "a.txt"), "bytes": 2}]
    assert set(value["bill"]) >= {"wait_seconds", "start_seconds", "run_seconds", "cost_micro", "provider"}
    assert "spoken" in ran.err


def test_an_unknown_gpu_is_refused_with_the_nearest_names(seat: Seat) -> None:
    ran = seat.gpuyard("run", "--gpu", "nvidia-rtx-3900", "--", "true")

    assert ran.status == 64
    assert "nvidia-rtx-3090" in ran.err


def test_without_waiting_no_capacity_is_an_error_that_names_what_is_there(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-3090", "--name", "holder")

    ran = seat.gpuyard("run", "--gpu", "nvidia-rtx-3090", "--no-wait", "--", "true")

    assert ran.status == 69
    assert ran.err.splitlines()[-2].startswith("error: ")
    assert ran.err.splitlines()[-1].startswith("hint: ")
    assert seat.instances() == ["holder"]


def test_a_run_that_has_to_wait_says_why_and_where_in_line_and_goes_on(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-3090", "--name", "holder")
    waiting = seat.start("run", "--gpu", "nvidia-rtx-3090", "--", "echo", "my turn")
    waiting.says("waits in line, place 1: 1× nvidia-rtx-3090")

    seat.good("instances", "rm", "holder")

    assert waiting.ends() == 0
    assert "my turn" in waiting.text


def test_the_cost_limit_stops_it_and_has_an_exit_status_of_its_own(seat: Seat) -> None:
    ran = seat.gpuyard("run", *GPU, "--max-duration", "2s", "--", "sleep", "600")

    assert ran.status == 79
    assert "limit" in ran.err
    assert seat.instances() == []


def test_kept_instances_stay_and_the_way_to_delete_them_is_told(seat: Seat) -> None:
    ran = seat.good("run", *GPU, "--keep", "--name", "stays", "--", "true")

    assert seat.instances() == ["stays"]
    assert "gpuyard instances rm stays" in ran.err


def test_a_detached_run_goes_on_and_is_followed_later(seat: Seat) -> None:
    seat.good("run", *GPU, "--detach", "--name", "later", "--", "bash", "-c", "sleep 1; echo done; exit 4")

    ran = seat.gpuyard("instances", "logs", "later", "--follow")

    assert (ran.status, ran.out) == (4, "done\n")


def test_requirements_are_installed_before_the_script_runs(seat: Seat) -> None:
    wheel = "tiny_answer-1-py3-none-any.whl"
    with zipfile.ZipFile(seat.cwd / wheel, "w") as archive:
        archive.writestr("tiny_answer.py", "ANSWER = 42\n")
        archive.writestr("tiny_answer-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-answer\nVersion: 1\n")
        archive.writestr(
            "tiny_answer-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_answer-1.dist-info/RECORD", "")
    (seat.cwd / "requirements.txt").write_text(f"--no-index\n./{wheel}\n")
    seat.script("use.py", "import tiny_answer; print(tiny_answer.ANSWER)")

    ran = seat.gpuyard("run", "use.py", *GPU, "-q", "-u", wheel, "-r", "requirements.txt", timeout=120)

    assert ran.out == "42\n", ran


def test_requirements_that_cannot_be_installed_are_an_error_and_nothing_is_left(seat: Seat) -> None:
    (seat.cwd / "requirements.txt").write_text("--no-index\nno-such-package-anywhere\n")

    ran = seat.gpuyard("run", *GPU, "-r", "requirements.txt", "--", "true", timeout=120)

    assert ran.status == 64
    assert "error: pip could not install requirements.txt" in ran.err
    assert seat.instances() == []


@pytest.mark.parametrize("words", [["run", "missing.py"], ["run"], ["run", "--gpu", "a100:0", "--", "true"]])
def test_what_cannot_work_is_refused_at_once(seat: Seat, words: list[str]) -> None:
    ran = seat.gpuyard(*words)

    assert ran.status in (64, 66)
    assert "hint: " in ran.err


def test_a_newcomer_gets_a_yard_started_and_is_told_so(newcomer: Seat) -> None:
    ran = newcomer.gpuyard("run", EXAMPLES / "hello.py", "--gpu", "nvidia-rtx-3090", timeout=120)

    assert ran.status == 0, ran
    assert "starting one on this machine" in ran.err
    assert "RTX 3090" in ran.out
    assert newcomer.instances() == []


def test_a_second_run_uses_the_yard_the_first_one_started(newcomer: Seat) -> None:
    newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--", "true", timeout=120)

    ran = newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--", "true")

    assert "starting one" not in ran.err


def test_a_yard_of_ours_that_has_ended_is_started_again(newcomer: Seat) -> None:
    newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--", "true", timeout=120)
    newcomer.good("down")

    ran = newcomer.good("run", "--gpu", "nvidia-rtx-3090", "--", "echo", "again", timeout=120)

    assert "again" in ran.out
    assert newcomer.instances() == []


def test_two_runs_at_once_share_the_yard_that_one_of_them_starts(newcomer: Seat) -> None:
    runs = [newcomer.start("run", "--gpu", "nvidia-rtx-4090", "--", "echo", f"run {n}") for n in (1, 2)]

    statuses = [run.ends() for run in runs]

    assert statuses == [0, 0], [run.text for run in runs]
