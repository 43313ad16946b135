"""docs/sdk.md is true: its examples run, from top to bottom, on a real yard."""

from __future__ import annotations

import linecache
import re
from pathlib import Path

import pytest

from gpuyard.sdk import Client
from tests.yards import RunningYard

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "sdk.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_every_example_of_the_guide_runs(yard: RunningYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUYARD_URL", yard.url)
    monkeypatch.setenv("GPUYARD_API_KEY", yard.key)
    page = GUIDE.read_text()
    namespace: dict[str, object] = {"__name__": "guide"}

    for found in EXAMPLE.finditer(page):
        line = page[: found.start(1)].count("\n")
        source = "\n" * line + found[1]  # a failure names the line of the page
        name = f"{GUIDE}:{line + 1}"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), namespace)

    with Client() as client:
        assert [instance.name for instance in client.instances.list() if instance.state != "deleting"] == []


def test_the_guide_names_every_way_into_the_client() -> None:
    page = GUIDE.read_text()
    public = [name for name, value in vars(Client).items() if not name.startswith("_") and callable(value)]

    assert [name for name in public if f"{name}(" not in page] == []
