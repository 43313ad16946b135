"""Who may import whom, and what an import brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.reading import ROOT

SERVER_LIBRARIES = (
    "alembic",
    "fastapi",
    "ipykernel",
    "prometheus_client",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
)


def test_the_layers_hold() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")

    checked = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import gpuyard",
        "from gpuyard import AsyncClient, Client, remote",
        "import gpuyard.cli.main",
        "import gpuyard.wire",
    ],
)
def test_a_client_brings_no_library_of_the_server_along(statement: str) -> None:
    program = f"{statement}; import sys; print(*sorted(name.partition('.')[0] for name in sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in SERVER_LIBRARIES if name in loaded] == []


def test_importing_gpuyard_loads_nothing_that_was_not_asked_for() -> None:
    program = "import gpuyard, sys; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert [name for name in ("httpx", "pydantic", "gpuyard.sdk") if name in loaded] == []
