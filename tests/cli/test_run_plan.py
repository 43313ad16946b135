"""What `run` will do is decided before anything is ordered."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuyard.cli.failures import CliError, ExitStatus
from gpuyard.cli.run_plan import RunPlan, Transfer, is_command_form, make_plan, place_of


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "src" / "train.py").write_text("print()")
    (folder / "prepare.sh").write_text("true")
    (folder / "requirements.txt").write_text("numpy")
    (folder / "data" / "a.csv").write_text("1")
    (tmp_path / "elsewhere.py").write_text("print()")
    return folder


def plan(here: Path, *words: str, is_command: bool = False, **options: object) -> RunPlan:
    return make_plan(words, is_command=is_command, cwd=here, **options)  # type: ignore[arg-type]


def test_a_python_script_is_sent_and_run_without_buffering(here: Path) -> None:
    made = plan(here, "src/train.py", "--epochs", "5")

    assert made.argv == ("python", "-u", "src/train.py", "--epochs", "5")
    assert made.uploads == (Transfer(here / "src/train.py", "src/train.py"),)


def test_a_shell_script_is_run_by_bash(here: Path) -> None:
    assert plan(here, "prepare.sh").argv == ("bash", "prepare.sh")


def test_a_script_from_outside_this_directory_arrives_under_its_name(here: Path) -> None:
    assert plan(here, "../elsewhere.py").argv == ("python", "-u", "elsewhere.py")


def test_a_command_is_run_as_it_stands_and_nothing_is_sent(here: Path) -> None:
    made = plan(here, "python", "-c", "print(1)", is_command=True)

    assert made.argv == ("python", "-c", "print(1)")
    assert made.uploads == ()


def test_a_script_right_behind_the_dashes_is_a_script_all_the_same(here: Path) -> None:
    made = plan(here, "src/train.py", "--epochs", "5", is_command=True)

    assert made.argv == ("python", "-u", "src/train.py", "--epochs", "5")


def test_folders_and_files_keep_their_place_below_this_directory(here: Path) -> None:
    made = plan(here, "src/train.py", uploads=["data", "src/train.py"])

    assert [transfer.there for transfer in made.uploads] == ["src/train.py", "data"]


def test_an_upload_may_be_given_another_place(here: Path) -> None:
    made = plan(here, "src/train.py", uploads=["data:/tmp/input"])

    assert made.uploads[1] == Transfer(here / "data", "/tmp/input")


def test_a_file_whose_name_has_a_colon_is_that_file(here: Path) -> None:
    (here / "a:b").write_text("")

    assert plan(here, "src/train.py", uploads=["a:b"]).uploads[1] == Transfer(here / "a:b", "a:b")


def test_requirements_are_sent_and_installed(here: Path) -> None:
    made = plan(here, "src/train.py", requirements="requirements.txt")

    assert made.preparation is not None
    assert made.preparation[-2:] == ("-r", "requirements.txt")
    assert Transfer(here / "requirements.txt", "requirements.txt") in made.uploads


def test_results_come_to_the_same_place_here_or_to_another(here: Path) -> None:
    made = plan(here, "src/train.py", outs=["out/model.pt", "/tmp/log.txt", "model.pt:kept.pt", "results/"])

    assert made.downloads == (
        Transfer(here / "out/model.pt", "out/model.pt"),
        Transfer(here / "log.txt", "/tmp/log.txt"),
        Transfer(here / "kept.pt", "model.pt"),
        Transfer(here / "results", "results"),
    )


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"words": ["missing.py"]}, ExitStatus.NOT_FOUND),
        ({"words": ["src"]}, ExitStatus.USAGE),
        ({"words": ["data/a.csv"]}, ExitStatus.USAGE),
        ({"words": ["src/train.py"], "uploads": ["missing"]}, ExitStatus.NOT_FOUND),
        ({"words": ["src/train.py"], "requirements": "missing.txt"}, ExitStatus.NOT_FOUND),
        ({"words": ["src/train.py"], "outs": ["../../model.pt"]}, ExitStatus.USAGE),
        ({"words": ["src/train.py"], "outs": ["model.pt:data/a.csv/model.pt"]}, ExitStatus.CANNOT_WRITE),
        ({"words": []}, ExitStatus.USAGE),
    ],
)
def test_what_cannot_work_is_refused_before_it_costs(here: Path, options: dict[str, list[str]], status: int) -> None:
    words = options.pop("words")

    with pytest.raises(CliError) as refused:
        plan(here, *words, **options)

    assert refused.value.status == status
    assert refused.value.hint


@pytest.mark.parametrize(
    ("line", "words", "command"),
    [
        ("run --gpu x -- python -c 1", "python -c 1", True),
        ("run train.py --gpu x -- --epochs 5", "train.py --epochs 5", False),
        ("run train.py --gpu x", "train.py", False),
        ("run --gpu x train.py a -- -b", "train.py a -b", False),
        ("run -- nvidia-smi", "nvidia-smi", True),
    ],
)
def test_only_words_behind_the_dashes_alone_are_a_command(line: str, words: str, command: bool) -> None:
    assert is_command_form(line.split(), words.split()) is command


def test_dots_in_a_path_do_not_lead_it_astray(here: Path) -> None:
    assert place_of(Path("src/../data/./a.csv"), here) == "data/a.csv"
    assert place_of(Path("."), here) == "."
