"""Whatever keeps a server from starting is one line that names the thing and the remedy, and an exit status."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from gpuyard.server.exits import Exit
from tests.server.starting import start
from tests.yards import start_yard


def test_an_unknown_setting_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    status, told = start(tmp_path, file="rate_limit:\n  brust: 5\n")

    assert status == Exit.SETTINGS
    assert told == f"gpuyard: {tmp_path}/gpuyard.yaml: no setting is called 'rate_limit.brust'; did you mean 'burst'?\n"


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("port: [\n", "is not YAML: line 2"),
        ("- a\n- b\n", "holds no settings"),
        ("rate_limit: {burst: many}\n", "rate_limit.burst is 'many'"),
        ("providers: {local: {warm_pol: 1}}\n", "warm_pol"),
        ("providers: {moon: {}}\n", "'moon'"),
        ("providers: {fake: {gpus: {nvidia-rtx-9999: 1}}}\n", "nvidia-rtx-9999"),
        ("prices: {nvidia-rtx-3090: cheap}\n", "cheap"),
        ("simulate: rtx-3090=many\n", "many"),
        ("currency: Taler\n", "currency is 'Taler'"),
        ("catalogue: /nowhere/gpus.yaml\n", "/nowhere/gpus.yaml"),
    ],
)
def test_a_wrong_settings_file_is_one_line(tmp_path: Path, file: str, named: str) -> None:
    providers = {} if "providers" in file else {"GPUYARD_PROVIDERS": '{"local": {}}'}
    environment = providers if "providers" not in file else {"GPUYARD_PROVIDERS": "{}"}

    status, told = start(tmp_path, file=file, env=environment)

    assert (status, told.count("\n")) == (Exit.SETTINGS, 1), told
    assert named in told


def test_a_binary_settings_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "gpuyard.yaml").write_bytes(os.urandom(2000))

    status, told = start(tmp_path)

    assert (status, told.count("\n")) == (Exit.SETTINGS, 1), told
    assert "gpuyard.yaml" in told


def test_a_wrong_environment_variable_is_named(tmp_path: Path) -> None:
    status, told = start(tmp_path, "--host", "127.0.0.1", env={"GPUYARD_PORT": "99999"})

    assert status == Exit.SETTINGS
    assert told.startswith("gpuyard: GPUYARD_PORT: port is '99999'")


def test_an_owner_key_that_could_be_guessed_is_refused_without_showing_it(tmp_path: Path) -> None:
    status, told = start(tmp_path, env={"GPUYARD_OWNER_KEY": "hunter2-hunter2-hunter2"})

    assert status == Exit.SETTINGS
    assert "hunter2" not in told
    assert "sk_compute_" in told


def test_a_secret_is_never_shown_even_when_it_is_wrong(tmp_path: Path) -> None:
    status, told = start(tmp_path, env={"GPUYARD_SECRET": "tooshort"})

    assert status == Exit.SETTINGS
    assert "tooshort" not in told


def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")

    status, told = start(tmp_path)

    assert status == Exit.DATA_DIRECTORY
    assert f"the data directory {tmp_path}/data cannot be used" in told
    assert "--data" in told


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    status, told = start(tmp_path, "--port", "0", "--data", "/proc/yard")

    assert (status, told.count("\n")) == (Exit.DATA_DIRECTORY, 1), told
    assert "/proc/yard" in told


def _can_mount() -> bool:
    probe = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="this system lets nobody mount inside a user namespace")
@pytest.mark.parametrize(
    ("options", "reason"), [("size=16k", "its disk is full"), ("ro", "it is on a read-only file system")]
)
def test_a_disk_that_takes_nothing_is_said_plainly(tmp_path: Path, options: str, reason: str) -> None:
    import sys

    data = tmp_path / "data"
    data.mkdir()
    script = f'mount -t tmpfs -o {options} none "{data}" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    server = [sys.executable, "-m", "gpuyard.server", "--home", str(tmp_path), "--port", "0"]

    done = subprocess.run([*command, *server], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr.count("\n")) == (Exit.DATA_DIRECTORY, 1), done.stderr
    assert reason in done.stderr
    assert "--data" in done.stderr


def test_a_second_server_on_the_same_data_names_the_first(tmp_path: Path) -> None:
    first = start_yard(tmp_path, env={"GPUYARD_PROVIDERS": '{"fake": {}}'})
    try:
        status, told = start(tmp_path / "home")
    finally:
        first.stop()

    assert (status, told.count("\n")) == (Exit.LOCKED, 1), told
    assert f"process {first.pid}" in told
    assert "gpuyard down" in told


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    start_yard(tmp_path, env={"GPUYARD_PROVIDERS": '{"fake": {}}'}).kill()

    again = start_yard(tmp_path, env={"GPUYARD_PROVIDERS": '{"fake": {}}'})

    assert again.stop() == Exit.OK


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status, told = start(tmp_path, "--port", str(port))

    assert (status, told.count("\n")) == (Exit.ADDRESS, 1), told
    assert f"port {port} of 127.0.0.1 is in use" in told


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    status, told = start(tmp_path, "--port", "0", "--host", "192.0.2.1")

    assert status == Exit.ADDRESS
    assert "--host" in told


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    status, told = start(tmp_path, "--port", "0", "--database", "postgresql://yard:geheim@127.0.0.1:1/yard")

    assert status == Exit.DATABASE, told
    assert "127.0.0.1" in told
    assert "geheim" not in told


def test_a_database_that_is_not_one_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/yard.db").write_bytes(b"this is no database" * 100)

    status, told = start(tmp_path)

    assert (status, told.count("\n")) == (Exit.DATABASE, 1), told
    assert (tmp_path / "data/yard.db").read_bytes().startswith(b"this is no database")


def test_every_exit_status_is_told_apart() -> None:
    assert len({status.value for status in Exit}) == len(Exit)
    assert all(re.fullmatch(r"[A-Z_]+", status.name) for status in Exit)
