"""What the README tells people to type exists."""

from __future__ import annotations

import ast
import re
import shlex
from typing import Any

import pytest
import typer.main

import gpuyard
from gpuyard.cli.main import app
from gpuyard.sdk import ExecutionFollower, Instance
from tests.house.reading import ROOT, code_blocks

README = ROOT / "README.md"
LINES = [line.split(" #")[0].strip() for block in code_blocks(README, "bash") for line in block.splitlines()]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("gpuyard ")])
def test_a_gpuyard_line_of_the_readme_names_commands_and_options_there_are(line: str) -> None:
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(app)

    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    own = words[: words.index("--")] if "--" in words else words
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    assert {word for word in own if word.startswith("-")} <= options


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("make ")])
def test_a_make_line_of_the_readme_is_a_target_there_is(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert set(line.split()[1:]) <= set(targets)


def test_the_extras_of_the_readme_are_extras_there_are() -> None:
    asked = re.findall(r"gpuyard\[(\w+)\]", README.read_text())
    described = (ROOT / "pyproject.toml").read_text()

    assert asked
    assert [extra for extra in asked if not re.search(rf"^{extra} = \[", described, re.MULTILINE)] == []


def test_the_python_of_the_readme_calls_what_there_is() -> None:
    (block,) = code_blocks(README, "python")
    called = {
        (node.func.value.id, node.func.attr)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
    }

    objects = {"yard": gpuyard.Client, "instance": Instance, "job": ExecutionFollower}
    assert {name for name, _ in called} == set(objects)
    assert [f"{name}.{method}" for name, method in called if not hasattr(objects[name], method)] == []
