"""Importing the client is quick because it brings along nothing it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.yards import SOURCE

SERVER_LIBRARIES = {
    "alembic",
    "fastapi",
    "ipykernel",
    "jupyter_client",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
    "yaml",
}
LATER = {"asyncio", "httpx", "pydantic", "rich", "ssl", "typer", "websockets"}


def loaded_by(program: str) -> set[str]:
    """Top-level modules and our own packages, in an interpreter of its own."""
    code = f"{program}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment, text=True)
    modules: list[str] = json.loads(run.stdout)
    return {name.partition(".")[0] for name in modules} | {".".join(name.split(".")[:2]) for name in modules}


@pytest.mark.parametrize("program", ["import gpuyard", "from gpuyard import AsyncClient, Client, remote"])
def test_importing_the_client_loads_neither_a_server_nor_what_a_call_will_need(program: str) -> None:
    loaded = loaded_by(program)

    assert not loaded & (SERVER_LIBRARIES | LATER)
    assert not loaded & {f"gpuyard.{part}" for part in ("server", "api", "services", "store", "resident", "cli")}


def test_using_the_client_loads_no_server() -> None:
    program = """
from gpuyard import Client, sdk
try:
    with Client("http://127.0.0.1:9", "sk_compute_x", retries=0) as client:
        client.me()
except sdk.errors.ConnectionFailed:
    from gpuyard.wire import InstanceView
"""

    assert not loaded_by(program) & SERVER_LIBRARIES


def test_every_name_the_sdk_promises_is_there() -> None:
    from gpuyard import sdk

    assert [name for name in sdk.__all__ if not hasattr(sdk, name)] == []
    with pytest.raises(AttributeError):
        _ = sdk.Nonsense


def test_an_instance_has_every_field_of_the_api() -> None:
    import ast
    import inspect

    from gpuyard.sdk import Instance
    from gpuyard.wire import InstanceView

    body = ast.parse(inspect.getsource(Instance)).body[0].body  # type: ignore[attr-defined]
    declared = {node.target.id for part in body if isinstance(part, ast.If) for node in part.body}  # type: ignore[attr-defined]

    assert declared == set(InstanceView.model_fields)
