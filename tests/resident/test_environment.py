"""What a program in an instance finds, tried with real interpreters and the real pip."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gpuyard.resident.environment import prepare, program_environment, python_of
from gpuyard.resident.wire import Assignment, GrantedGpu, Residence
from tests.resident.running import RunningResident, text_of


def a_residence(tmp_path: Path) -> Residence:
    return Residence(root=tmp_path / "root", state=tmp_path / "state")


def an_assignment(**changes: Any) -> Assignment:
    known = {
        "instance_id": "inst_1",
        "short_id": "0a1b",
        "name": "mine",
        "secret": "s3cret",
        "app_password": "passw0rd",
    }
    return Assignment.model_validate({**known, **changes})


def a_card(index: int, *, slug: str = "nvidia-rtx-3090", simulated: bool = True) -> GrantedGpu:
    return GrantedGpu(index=index, uuid=f"GPU-{index}", name="RTX", slug=slug, memory_mb=24576, simulated=simulated)


class Program:
    """Runs things as the instance's programs run."""

    def __init__(self, residence: Residence, assignment: Assignment) -> None:
        prepare(residence, assignment)
        assert residence.root is not None
        self.root = residence.root
        self.env = program_environment(residence, assignment)

    def __call__(self, *argv: str) -> str:
        done = subprocess.run(
            argv, env=self.env, cwd=self.root / "workspace", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(a_residence(tmp_path), an_assignment())


def a_wheel(at: Path, name: str, version: str) -> Path:
    wheel = at / f"{name}-{version}-py3-none-any.whl"
    meta = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{meta}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{meta}/RECORD", "")
    return wheel


def test_python_is_the_instances_own_and_imports_all_the_resident_can(program: Program) -> None:
    code = "import sys, ipykernel, gpuyard, starlette; print(sys.prefix)"

    for name in ("python", "python3"):
        assert program(name, "-c", code) == str(program.root / "home/coder/.gpuyard/python")


def test_pip_installs_into_the_instance_alone(program: Program, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path, "onlyhere", "1.0")

    program("pip", "install", "--no-index", str(wheel))

    where = program("python", "-c", "import onlyhere; print(onlyhere.__file__)")
    assert where.startswith(str(program.root / "home/coder"))
    elsewhere = subprocess.run([sys.executable, "-c", "import onlyhere"], capture_output=True, check=False)
    assert elsewhere.returncode != 0


def test_what_is_installed_in_the_instance_wins_over_what_the_resident_has(program: Program, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path, "starlette", "99.0")

    program("pip3", "install", "--no-index", "--no-deps", str(wheel))

    assert program("python", "-c", "import starlette; print(starlette.version)") == "99.0"


def test_pip_never_removes_what_belongs_to_the_resident(program: Program) -> None:
    program("pip", "uninstall", "-y", "starlette")

    assert program("python", "-c", "import starlette; print('there')") == "there"


def test_nothing_of_the_machines_own_environment_comes_through(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("CLOUD_TOKEN", "of-the-machine")
    monkeypatch.setenv("PYTHONPATH", "/of/the/machine")
    monkeypatch.setenv("TZ", "Europe/Zurich")

    env = program_environment(a_residence(tmp_path), an_assignment())

    text = repr(env)
    assert "of-the-machine" not in text
    assert "PYTHONPATH" not in env
    assert env["TZ"] == "Europe/Zurich"
    assert "s3cret" not in text
    assert "passw0rd" not in text


def test_the_instance_knows_itself_and_its_cards(tmp_path: Path) -> None:
    cards = [a_card(1), a_card(4), a_card(5, slug="nvidia-a100-80gb")]

    env = program_environment(a_residence(tmp_path), an_assignment(gpus=cards))

    assert env["CUDA_VISIBLE_DEVICES"] == "1,4,5"
    assert env["GPUYARD_GPUS"] == "nvidia-rtx-3090:2,nvidia-a100-80gb:1"
    assert (env["GPUYARD_INSTANCE_ID"], env["GPUYARD_INSTANCE_NAME"]) == ("inst_1", "mine")


def test_an_instance_without_cards_sees_none(tmp_path: Path) -> None:
    env = program_environment(a_residence(tmp_path), an_assignment())

    assert (env["CUDA_VISIBLE_DEVICES"], env["NVIDIA_VISIBLE_DEVICES"], env["GPUYARD_GPUS"]) == ("", "none", "")


def test_the_customers_variables_have_the_last_word(tmp_path: Path) -> None:
    env = program_environment(a_residence(tmp_path), an_assignment(env={"LANG": "de_CH.UTF-8", "MINE": "1"}))

    assert (env["LANG"], env["MINE"]) == ("de_CH.UTF-8", "1")


def test_the_workspace_is_also_in_the_home_directory(program: Program) -> None:
    program("bash", "-c", "echo hello > ~/workspace/file")

    assert program("cat", "file") == "hello"


def test_inside_a_sandbox_paths_are_the_instances_own(tmp_path: Path) -> None:
    env = program_environment(Residence(state=tmp_path), an_assignment())

    assert (env["HOME"], env["TMPDIR"]) == ("/home/coder", "/tmp")
    assert env["PATH"].split(os.pathsep)[0] == "/home/coder/.gpuyard/python/bin"


def test_a_login_shell_keeps_the_path_although_the_system_sets_its_own(program: Program) -> None:
    assert program("bash", "-lc", "command -v python") == str(program.root / "home/coder/.gpuyard/python/bin/python")


def test_a_customers_own_profile_is_left_alone(tmp_path: Path) -> None:
    residence = a_residence(tmp_path)
    profile = tmp_path / "root/home/coder/.profile"
    profile.parent.mkdir(parents=True)
    profile.write_text("mine\n")

    prepare(residence, an_assignment())

    assert profile.read_text() == "mine\n"
    assert not (profile.parent / ".bash_profile").exists()


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    residence, assignment = a_residence(tmp_path), an_assignment(gpus=[a_card(0)])
    prepare(residence, assignment)
    before = everything_below(tmp_path)

    prepare(residence, assignment)

    assert everything_below(tmp_path) == before


def test_preparing_ahead_and_then_for_the_instance_is_the_same_as_at_once(tmp_path: Path) -> None:
    at_once, ahead = a_residence(tmp_path / "a"), a_residence(tmp_path / "b")
    assignment = an_assignment(gpus=[a_card(0)])

    prepare(at_once, assignment)
    prepare(ahead)
    prepare(ahead, assignment)

    assert names_below(tmp_path / "a") == names_below(tmp_path / "b")


def test_the_interpreter_for_kernels_is_there_after_preparing(tmp_path: Path) -> None:
    residence = a_residence(tmp_path)

    prepare(residence)

    assert os.access(python_of(residence), os.X_OK)


def test_a_running_resident_gives_its_programs_this_environment(resident: RunningResident) -> None:
    records = resident.run("env", kind="shell", code="python -c 'import sys; print(sys.prefix)'; pwd; echo $HOME; env")

    prefix, directory, home, *rest = text_of(records).splitlines()
    assert prefix == f"{resident.home}/.gpuyard/python"
    assert (directory, home) == (str(resident.workspace), str(resident.home))
    assert resident.config["secret"] not in "\n".join(rest)


def everything_below(top: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in top.rglob("*")}


def names_below(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}
