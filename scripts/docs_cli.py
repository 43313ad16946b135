"""docs/cli.md, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from docs_text import heading, table

from gpuyard.cli.main import app

OPENING = """\
`gpuyard --help` and `gpuyard COMMAND --help` say the same in the terminal. How to work with it: [cli-guide.md](cli-guide.md).
The options of `gpuyard` itself may stand anywhere on the line, behind a command too.
"""

PROGRAM = "gpuyard"
UNTOLD = frozenset({"install_completion", "show_completion"})


def page() -> str:
    sections = [section(path, command) for path, command in commands()]
    return "\n".join([heading("Command line", source="src/gpuyard/cli/", opening=OPENING), *sections])


def commands() -> Iterator[tuple[str, Any]]:
    """Every visible command by its whole name, groups before what is in them."""
    yield from _walk(PROGRAM, typer.main.get_command(app))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _walk(f"{path} {name}", child)


def section(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(
        [path, *(_usage(p) for p in arguments), *(["COMMAND"] if hasattr(command, "commands") else []), "[OPTIONS]"]
    )
    parts = [
        f"## {path}\n" if path == PROGRAM else f"### {path}\n",
        _prose(command.help or ""),
        f"\n```\n{usage}\n```\n",
    ]
    common = UNTOLD if path == PROGRAM else frozenset(param.name for param in typer.main.get_command(app).params)
    rows: list[tuple[str, str]] = [*_argument_rows(arguments), *_option_rows(command, common)]
    if rows:
        parts.append(table(["Option", "Meaning"], rows))
    return "\n".join(part for part in parts if part)


def _usage(argument: Any) -> str:
    if argument.metavar:
        return str(argument.metavar)
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _argument_rows(arguments: list[Any]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        if getattr(argument, "help", None):
            yield f"`{_usage(argument)}`", argument.help


def _option_rows(command: Any, but: frozenset[str]) -> Iterator[tuple[str, str]]:
    for option in command.params:
        if option.param_type_name != "option" or option.hidden or option.name in but:
            continue
        names = ", ".join(f"`{name}`" for name in sorted((*option.opts, *option.secondary_opts), key=len))
        value = f" `{option.metavar}`" if option.metavar and not option.is_flag else ""
        yield names + value, " ".join([option.help or "", *_asides(option)]).strip()


def _asides(option: Any) -> Iterator[str]:
    if option.required:
        yield "Required."
    if option.envvar:
        yield f"Also `{option.envvar}`."
    if isinstance(option.default, str | int | float) and not isinstance(option.default, bool) and option.default != "":
        yield f"Default: `{option.default}`."


def _prose(help_text: str) -> str:
    return help_text.replace("\b\n", "").replace("\f", "").strip()
