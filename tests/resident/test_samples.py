"""Samples tell what a real resident's programs really use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpuyard.resident.disk_usage import bytes_below
from tests.resident.running import RunningResident, an_assignment, until

CARDS = [
    {"index": index, "uuid": f"GPU-{index}", "name": "NVIDIA GeForce RTX 3090", "slug": "nvidia-rtx-3090"}
    | {"memory_mb": 24576, "simulated": True}
    for index in (2, 5)
]


@pytest.fixture
def yard(a_resident: Callable[..., RunningResident]) -> RunningResident:
    running = a_resident(assignment=an_assignment(gpus=CARDS, vcpus=2, ram_gb=8, disk_gb=10))
    running.start()
    return running


def sample(resident: RunningResident) -> dict[str, Any]:
    answer: dict[str, Any] = resident.client.get("/samples").json()
    return answer


def start(resident: RunningResident, id: str, code: str) -> None:
    body = {"kind": "shell", "code": code, "detached": True}
    assert resident.client.put(f"/executions/{id}", json=body).status_code == 201


def test_simulated_cards_say_so_and_invent_no_temperature(yard: RunningResident) -> None:
    gpus = sample(yard)["gpus"]

    assert [(gpu["index"], gpu["uuid"], gpu["simulated"]) for gpu in gpus] == [(2, "GPU-2", True), (5, "GPU-5", True)]
    assert all(gpu["memory_total_mb"] == 24576 and "temperature_c" not in gpu for gpu in gpus)


def test_a_busy_program_shows_on_the_processor_the_cards_and_its_own_row(yard: RunningResident) -> None:
    start(yard, "busy", "exec python -c 'while True: pass'")

    seen = until(lambda: next((s for s in [sample(yard)] if s["cpu"]["percent"] > 5), None))

    assert all(gpu["utilization_percent"] > 5 for gpu in seen["gpus"])
    assert max(row["cpu_percent"] for row in seen["processes"]) > 5
    yard.client.post("/executions/busy/signal", json={"signal": "KILL"})


def test_a_program_that_works_silently_keeps_the_instance_active(yard: RunningResident) -> None:
    yard.client.post("/apps/worker", json={"argv": ["python", "-c", "while True: pass"], "port": 9})
    until(lambda: sample(yard)["cpu"]["percent"] > 5)

    earlier = sample(yard)["active_at"]

    until(lambda: sample(yard)["active_at"] > earlier)
    yard.client.delete("/apps/worker")


def test_a_program_that_only_waits_does_not_keep_the_instance_active(yard: RunningResident) -> None:
    yard.client.post("/apps/idler", json={"argv": ["sleep", "600"], "port": 9})
    first = until(lambda: next((s for s in [sample(yard)] if s["cpu"]["percent"] < 3), None))

    second = until(lambda: next((s for s in [sample(yard)] if s["at"] > first["at"]), None))

    assert [row["name"] for row in second["processes"]] == ["sleep"]
    assert second["active_at"] == first["active_at"]
    yard.client.delete("/apps/idler")


def test_memory_is_what_the_programs_take(yard: RunningResident) -> None:
    before = sample(yard)["memory"]

    start(yard, "large", "python -c 'import time; kept = b\"x\" * 300_000_000; time.sleep(600)'")

    until(lambda: sample(yard)["memory"]["used_mb"] - before["used_mb"] > 280)
    assert sample(yard)["memory"]["used_mb"] - before["used_mb"] < 400
    assert before["limit_mb"] == 8 * 1024


def test_disk_counts_the_files_of_the_instance(a_resident: Callable[..., RunningResident]) -> None:
    running = a_resident(assignment=an_assignment(disk_gb=10))
    running.workspace.mkdir(parents=True)
    (running.workspace / "data").write_bytes(os.urandom(20 * 1024 * 1024))
    running.start()

    disk = sample(running)["disk"]

    assert 20 <= disk["used_mb"] <= 22
    assert disk["limit_mb"] == 10 * 1024


def test_the_limits_are_those_of_the_assignment(yard: RunningResident) -> None:
    assert sample(yard)["cpu"]["limit_cores"] == 2


def test_a_file_of_two_names_takes_its_room_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "big").write_bytes(os.urandom(4_000_000))
    counted = tmp_path / "counted"
    counted.mkdir()
    (counted / "one").write_bytes(os.urandom(1_000_000))
    (counted / "two").hardlink_to(counted / "one")
    (counted / "away").symlink_to(tmp_path / "elsewhere")

    assert 1_000_000 <= bytes_below([counted]) < 1_100_000
