"""The stand-in answers as programs expect of the real one, through the very script that lies in the instance."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gpuyard.resident.environment import prepare, program_environment
from gpuyard.resident.wire import Assignment, GrantedGpu, Residence

CARDS = [
    GrantedGpu(index=index, uuid=f"GPU-{index}aa", name=name, slug=f"nvidia-{index}", memory_mb=memory, simulated=True)
    for index, name, memory in ((0, "NVIDIA GeForce RTX 3090", 24576), (3, "NVIDIA A100-SXM4-80GB", 81920))
]


@pytest.fixture
def smi(tmp_path: Path) -> SmiProgram:
    residence = Residence(root=tmp_path / "root", state=tmp_path / "state")
    assignment = Assignment(instance_id="i", short_id="s", name="n", secret="x", app_password="y", gpus=CARDS)
    prepare(residence, assignment)
    return SmiProgram(program_environment(residence, assignment))


class SmiProgram:
    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["nvidia-smi", *arguments], env=self.env, capture_output=True, text=True, check=False)

    def says(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def test_the_plain_table_has_every_card_and_says_that_they_are_simulated(smi: SmiProgram) -> None:
    table = smi.says()

    assert "simulated" in table
    assert "NVIDIA GeForce RTX 3090" in table
    assert "81920MiB" in table
    assert len({len(line) for line in table.splitlines()[1:]}) == 1


def test_the_list_has_name_and_uuid(smi: SmiProgram) -> None:
    assert smi.says("-L").splitlines() == [
        "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-0aa)",
        "GPU 3: NVIDIA A100-SXM4-80GB (UUID: GPU-3aa)",
    ]


def test_a_query_has_a_header_with_units(smi: SmiProgram) -> None:
    assert smi.says("--query-gpu=index,name,memory.total,utilization.gpu", "--format=csv").splitlines() == [
        "index, name, memory.total [MiB], utilization.gpu [%]",
        "0, NVIDIA GeForce RTX 3090, 24576 MiB, 0 %",
        "3, NVIDIA A100-SXM4-80GB, 81920 MiB, 0 %",
    ]


def test_without_header_and_units_numbers_are_plain_integers(smi: SmiProgram) -> None:
    rows = smi.says("--query-gpu=memory.total,memory.used,memory.free", "--format=csv,noheader,nounits").splitlines()

    assert [[int(cell) for cell in row.split(", ")] for row in rows] == [[24576, 0, 24576], [81920, 0, 81920]]


@pytest.mark.parametrize("which", [("-i", "3"), ("--id=3",), ("--id=GPU-3aa",), ("-i", "00000000:04:00.0")])
def test_one_card_is_chosen_by_index_uuid_or_bus(smi: SmiProgram, which: tuple[str, ...]) -> None:
    assert smi.says(*which, "--query-gpu=index", "--format=csv,noheader") == "3\n"


def test_no_program_ever_runs_on_a_simulated_card(smi: SmiProgram) -> None:
    assert smi.says("--query-compute-apps=pid,used_memory", "--format=csv") == "pid, used_memory [MiB]\n"


def test_the_xml_is_well_formed_and_has_the_cards(smi: SmiProgram) -> None:
    log = ElementTree.fromstring(smi.says("-q", "-x"))

    assert log.findtext("attached_gpus") == "2"
    assert [card.findtext("fb_memory_usage/total") for card in log.findall("gpu")] == ["24576 MiB", "81920 MiB"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--query-gpu=beauty", "--format=csv"), 'Field "beauty" is not a valid field to query.'),
        (("--query-gpu=name",), "--format="),
        (("--reset",), "--reset"),
        (("-i", "9"), "No devices were found"),
    ],
)
def test_what_it_cannot_answer_is_an_error(smi: SmiProgram, arguments: tuple[str, ...], said: str) -> None:
    done = smi.run(*arguments)

    assert done.returncode != 0
    assert said in done.stdout


def test_a_reader_that_stops_reading_is_no_error(smi: SmiProgram) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", "nvidia-smi -l 1 | head -1"], env=smi.env, capture_output=True, check=False
    )

    assert done.returncode == 0
    assert done.stderr == b""


def test_an_instance_without_simulated_cards_has_no_stand_in(tmp_path: Path) -> None:
    residence = Residence(root=tmp_path / "root", state=tmp_path / "state")
    assignment = Assignment(instance_id="i", short_id="s", name="n", secret="x", app_password="y")

    prepare(residence, assignment)

    path = program_environment(residence, assignment)["PATH"].split(os.pathsep)
    assert not any((Path(entry) / "nvidia-smi").exists() for entry in path if str(tmp_path) in entry)
