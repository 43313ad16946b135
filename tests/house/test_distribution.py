"""What people install: built, put into an empty environment, and run there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.reading import ROOT

pytestmark = [pytest.mark.xdist_group("distribution"), pytest.mark.timeout(600)]


def run(*argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GPUYARD_", "PYTHON"))}
    return subprocess.run(
        [str(word) for word in argv], env={**clean, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", folder).returncode == 0
    return folder


def install(environment: Path, dist: Path, extras: str = "") -> None:
    (wheel,) = dist.glob("*.whl")
    installed = run(
        environment / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}{extras}"
    )
    assert installed.returncode == 0, installed.stderr


def test_the_wheel_carries_what_is_not_python_too(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {"gpuyard/py.typed", "gpuyard/catalogue/gpus.yaml"} <= set(names)
    assert any(name.startswith("gpuyard/store/migrations/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_carries_what_explains_and_rebuilds_it(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "docs/index.md", "examples/digits.py"} <= names


def test_a_client_and_then_a_yard_run_from_an_empty_environment(
    dist: Path, empty_environment: Path, tmp_path: Path
) -> None:
    gpuyard = empty_environment / "bin" / "gpuyard"
    home = {"GPUYARD_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}

    install(empty_environment, dist)
    client_alone = run(empty_environment / "bin" / "python", "-c", "from gpuyard import Client; print(Client.__name__)")
    version = run(gpuyard, "version", **home)
    refused = run(gpuyard, "up", "--port", "0", **home)
    install(empty_environment, dist, "[server]")
    up = run(gpuyard, "up", "--detach", "--port", "0", **home)
    try:
        offers = run(gpuyard, "offers", **home)
    finally:
        down = run(gpuyard, "down", **home)

    assert client_alone.stdout.strip() == "Client", client_alone.stderr
    assert version.returncode == 0, version.stderr
    assert refused.returncode != 0
    assert "gpuyard[server]" in refused.stderr
    assert up.returncode == 0, up.stderr
    assert offers.returncode == 0, offers.stderr
    assert down.returncode == 0, down.stderr
