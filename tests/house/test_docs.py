"""The pages of docs/ are complete and say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from gpuyard.api.errors import STATUS
from gpuyard.cli.failures import BY_CODE as EXIT_BY_CODE
from gpuyard.cli.failures import MEANING, ExitStatus
from gpuyard.cli.main import app
from gpuyard.domain.errors import error_classes
from gpuyard.domain.executions import EXECUTION_LIFECYCLE
from gpuyard.domain.instances import INSTANCE_LIFECYCLE
from gpuyard.sdk.errors import BY_CODE as SDK_BY_CODE
from gpuyard.server.settings import Settings
from tests.house.reading import ROOT, code_blocks, links, pages

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def test_the_generated_pages_are_what_would_be_generated_now() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


def setting_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += setting_names(inner, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


@pytest.mark.parametrize("name", setting_names(Settings))
def test_every_setting_is_on_its_page_with_what_it_means(name: str) -> None:
    row = re.search(rf"^\| `{re.escape(name)}` \|.*\| ([^|]+) \|$", page("settings.md"), re.MULTILINE)

    assert row
    assert len(row[1].split()) >= 3


@pytest.mark.parametrize("code", sorted({cls.code for cls in error_classes()} | set(SDK_BY_CODE)))
def test_every_error_code_is_on_its_page(code: str) -> None:
    assert f"| `{code}` |" in page("errors.md")


def test_every_error_has_a_status_an_sdk_class_and_an_exit_status() -> None:
    codes = {cls.code for cls in error_classes()}

    assert set(STATUS) == set(error_classes())
    assert codes <= set(SDK_BY_CODE)
    assert set(SDK_BY_CODE) == set(EXIT_BY_CODE)
    assert set(MEANING) == set(ExitStatus)


def command_paths(command: object, path: str) -> list[str]:
    children = getattr(command, "commands", {}).items()
    return [path, *(p for name, child in children if not child.hidden for p in command_paths(child, f"{path} {name}"))]


@pytest.mark.parametrize("path", command_paths(typer.main.get_command(app), "gpuyard"))
def test_every_command_is_on_its_page_with_what_it_does(path: str) -> None:
    section = re.search(rf"^#+ {re.escape(path)}\n\n(.+)", page("cli.md"), re.MULTILINE)

    assert section
    assert not section[1].startswith("```")


@pytest.mark.parametrize("lifecycle", [INSTANCE_LIFECYCLE, EXECUTION_LIFECYCLE], ids=lambda it: it.noun)
def test_every_state_and_event_is_on_its_page_with_what_it_means(lifecycle: object) -> None:
    text = page("lifecycle.md")
    names = {name for (state, event), _ in lifecycle.arrows.items() for name in (state, event)}  # type: ignore[attr-defined]

    assert [name for name in names if not re.search(rf"^\| `{name}` \| [^|]", text, re.MULTILINE)] == []


@pytest.mark.parametrize("file", pages(), ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_page_points_to_is_there(file: Path) -> None:
    gone = [target for target in links(file) if not (file.parent / target.split("#")[0]).exists()]

    assert gone == []


def test_every_page_can_be_found_from_the_index() -> None:
    listed = {target.split("#")[0] for target in links(DOCS / "index.md")}

    assert {file.name for file in DOCS.glob("*.md")} - {"index.md"} <= listed


@pytest.mark.parametrize("file", pages(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_python_on_a_page_is_python(file: Path) -> None:
    for block in code_blocks(file, "python"):
        compile(block, str(file), "exec", flags=0x2000)  # top-level await may stand in an example


def test_every_route_is_on_its_page_with_what_it_does() -> None:
    rows = re.findall(r"^\| `([A-Za-z]+ /\S+)` \| (.*) \|$", page("api.md"), re.MULTILINE)

    assert len(rows) > 40
    assert [route for route, words in rows if not words.endswith(".")] == []
