"""What happens inside an instance: output, commands, files, applications. And that every answer has a JSON form."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

import pytest

from tests.cli.conftest import Seat

GPU = ("--gpu", "nvidia-rtx-4090")


@pytest.fixture
def box(seat: Seat) -> str:
    seat.good("instances", "create", *GPU, "--name", "box")
    return "box"


def test_a_file_goes_in_and_comes_out_unchanged(seat: Seat, box: str) -> None:
    content = os.urandom(20 * 1024 * 1024)
    (seat.cwd / "in.bin").write_bytes(content)

    seat.good("instances", "cp", "in.bin", f"{box}:some/where/in.bin")
    seat.good("instances", "cp", f"{box}:some/where/in.bin", "out.bin")

    assert (seat.cwd / "out.bin").read_bytes() == content


def test_a_folder_goes_in_and_comes_out_unchanged(seat: Seat, box: str) -> None:
    (seat.cwd / "tree" / "empty").mkdir(parents=True)
    (seat.cwd / "tree" / "ä b.txt").write_text("text")

    seat.good("instances", "cp", "tree", f"{box}:tree")
    seat.good("instances", "cp", f"{box}:tree", "back")

    assert sorted(path.name for path in (seat.cwd / "back").rglob("*")) == ["empty", "ä b.txt"]


def test_copying_into_a_folder_keeps_the_name(seat: Seat, box: str) -> None:
    (seat.cwd / "a.txt").write_text("1")
    (seat.cwd / "into").mkdir()

    seat.good("instances", "cp", "a.txt", f"{box}:dir/")
    seat.good("instances", "cp", f"{box}:dir/a.txt", "into")

    assert (seat.cwd / "into" / "a.txt").read_text() == "1"


def test_logs_show_the_last_program_or_the_one_named(seat: Seat, box: str) -> None:
    seat.good("instances", "exec", box, "echo", "first")
    seat.good("instances", "exec", box, "echo", "second")

    listed = seat.good("instances", "logs", box, "--list", "--json").json["items"]

    assert seat.good("instances", "logs", box).out == "second\n"
    assert seat.good("instances", "logs", box, "--execution", listed[-1]["id"]).out == "first\n"


def test_a_command_gets_our_standard_input_when_asked_to(seat: Seat, box: str) -> None:
    ran = seat.gpuyard("instances", "exec", "--stdin", box, "wc", "-c", stdin="twelve bytes")

    assert ran.out.strip() == "12"


def test_ctrl_c_interrupts_a_command_and_leaves_the_instance(seat: Seat, box: str) -> None:
    command = seat.start("instances", "exec", box, "--", "bash", "-c", "echo it runs; exec sleep 600")
    command.says("it runs")

    command.press()

    assert command.ends() == 130
    assert seat.instances() == [box]
    assert seat.gpuyard("instances", "logs", box, "--follow").status == 130


def test_a_command_that_takes_too_long_is_ended(seat: Seat, box: str) -> None:
    ran = seat.gpuyard("instances", "exec", "--timeout", "1s", box, "sleep", "600")

    assert ran.status == 124
    assert "timeout" in ran.err


def test_the_address_of_its_applications_lets_in_who_has_it_alone(seat: Seat, box: str) -> None:
    url = seat.good("instances", "open", box).out.strip()

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.partition("?")[0] + "api/status", timeout=60)

    assert refused.value.code in (401, 403)
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    assert opener.open(url, timeout=60).status == 200


JSON_LINES = """
    offers
    status
    cost
    doctor
    version
    instances ls
    instances ls --all
    instances show box
    instances why box
    instances logs box --list
    instances open box
    keys ls
    members ls
    accounts ls
    instances exec box true
    instances stop box
    instances start box
    instances rename box box
    completion bash
    instances rm box
"""


def test_with_json_standard_output_is_one_object(seat: Seat, box: str) -> None:
    answers = {line: seat.gpuyard("--json", *line.split()) for line in JSON_LINES.strip().splitlines()}

    for line, ran in answers.items():
        assert ran.status == 0, (line, ran)
        assert isinstance(json.loads(ran.out), dict), line


def test_quiet_lists_are_names_alone(seat: Seat, box: str) -> None:
    ran = seat.good("instances", "ls", "--quiet")

    assert (ran.out, ran.err) == (f"{box}\n", "")


def test_several_instances_go_at_once_and_one_that_is_not_there_does_not_stop_it(seat: Seat, box: str) -> None:
    seat.good("instances", "create", "--name", "other")

    ran = seat.gpuyard("instances", "rm", box, "nothing", "other")

    assert ran.status == 66
    assert seat.instances() == []


def test_allowing_a_part_takes_what_there_is(seat: Seat) -> None:
    seat.good("instances", "create", "--gpu", "nvidia-rtx-4090", "--name", "one")

    seat.good("instances", "create", "--gpu", "nvidia-rtx-4090:2", "--allow-partial", "--name", "rest")

    shown = seat.good("instances", "show", "rest", "--json").json
    assert shown["instance"]["gpus"][0]["count"] == 1
