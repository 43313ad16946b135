"""A server whose store is a real PostgreSQL: the same yard, and what runs outlives its server all the same."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.postgres import postgres_server, postgres_url
from tests.yards import RunningYard, start_yard

__all__ = ["postgres_server", "postgres_url"]


def client(yard: RunningYard) -> httpx.Client:
    headers = {"Authorization": f"Bearer {yard.key}"}
    return httpx.Client(base_url=f"{yard.url}/yard/v1", headers=headers, timeout=30)


def output_of(http: httpx.Client, instance: str, execution: str) -> str:
    """All it wrote, once it has ended."""
    path = f"/instances/{instance}/executions/{execution}/output?follow=true"
    return http.get(path, headers={"Accept": "application/x-ndjson"}, timeout=60).text


def test_a_yard_on_postgresql_runs_code_and_survives_a_killed_server(postgres_url: str, tmp_path: Path) -> None:
    settings = {"GPUYARD_DATABASE": postgres_url}
    yard = start_yard(tmp_path, env=settings)
    with client(yard) as http:
        made = http.post(
            "/instances", json={"gpus": [{"type": "nvidia-rtx-3090"}], "name": "fern", "wait": True}
        ).json()
        while http.get("/instances/fern").json()["state"] != "running":
            assert http.get("/instances/fern").json()["state"] not in ("failed", "deleted")
        command = {"kind": "shell", "command": "echo before; sleep 2; echo after"}
        execution = http.post("/instances/fern/executions", json=command).json()["id"]
    yard.kill()

    yard = start_yard(tmp_path, env=settings)
    try:
        with client(yard) as http:
            written = output_of(http, made["id"], execution)
            ended = http.get(f"/instances/fern/executions/{execution}").json()
    finally:
        yard.close()

    assert "before" in written
    assert "after" in written
    assert (ended["state"], ended["exit_code"]) == ("succeeded", 0)
