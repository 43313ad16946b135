"""The guide says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from gpuyard.cli.failures import MEANING
from gpuyard.cli.main import STATUSES, app

GUIDE = (Path(__file__).parents[2] / "docs" / "cli-guide.md").read_text("utf-8")


def test_the_guide_has_every_exit_status_with_its_meaning() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", GUIDE, re.MULTILINE)

    assert rows == [(str(int(status)), meaning) for status, meaning in MEANING.items()]


def test_the_help_has_every_exit_status_with_its_meaning() -> None:
    for status, meaning in MEANING.items():
        assert f"{int(status):>5}  {meaning}" in STATUSES


def test_the_guide_uses_no_option_that_is_not_there() -> None:
    params = [param for command in _commands(typer.main.get_command(app)) for param in command.params]
    known = {option for param in params for option in (*param.opts, *param.secondary_opts)}

    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", GUIDE)) - {"--epochs", "--help"}

    assert used <= known


def _commands(command: Any) -> list[Any]:
    below = getattr(command, "commands", {}).values()
    return [command, *(deeper for child in below for deeper in _commands(child))]
