"""Reads the settings from their three places; whatever is wrong becomes one line that names it and the remedy."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource
from pydantic_settings.exceptions import SettingsError

from gpuyard.server.exits import CannotStart, Exit
from gpuyard.server.settings import Settings

FILE_NAME = "gpuyard.yaml"
_PREFIX = "GPUYARD_"
_NOT_OURS = frozenset({"URL", "API_KEY", "CONFIG", "INSTANCE_ID", "INSTANCE_NAME", "GPUS"})
"""Read by clients, by the command line, and by programs in instances."""


def load_settings(options: Mapping[str, Any], config: Path | None = None) -> Settings:
    """`options` are what the command line gave. Raises CannotStart."""
    file = _file(options, config)
    written = _read(file) if file else {}

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[Settings],  # type: ignore[override]
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(written))

    try:
        return Loaded(**options)
    except ValidationError as error:
        raise _wrong(error, options, file) from None
    except SettingsError as error:
        raise CannotStart(Exit.SETTINGS, str(error).replace('"', "'"), "write lists and mappings as JSON") from None


def misspelled() -> Iterator[str]:
    """A line for each `GPUYARD_…` that sets nothing but looks like one that would.

    Not an error: other programs may use the prefix.
    """
    for name in sorted(os.environ):
        setting = name.removeprefix(_PREFIX).partition("__")[0]
        if not name.startswith(_PREFIX) or setting in _NOT_OURS or setting.lower() in Settings.model_fields:
            continue
        near = difflib.get_close_matches(setting.lower(), Settings.model_fields, n=1, cutoff=0.7)
        if near:
            yield f"{name} sets nothing; did you mean {_PREFIX}{near[0].upper()}?"


def _file(options: Mapping[str, Any], config: Path | None) -> Path | None:
    """The file asked for, which must be there, or the first of the usual places that has one."""
    asked = config or (Path(os.environ["GPUYARD_CONFIG"]) if os.environ.get("GPUYARD_CONFIG") else None)
    if asked is not None:
        return asked
    home = Path(options.get("home") or os.environ.get("GPUYARD_HOME") or "~/.config/gpuyard").expanduser()
    return next((place for place in (Path(FILE_NAME).absolute(), home / FILE_NAME) if place.is_file()), None)


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CannotStart(
            Exit.SETTINGS, f"the settings file {file} cannot be read: {reason}", "name another with --config"
        ) from None
    except yaml.YAMLError as error:
        raise CannotStart(
            Exit.SETTINGS, f"the settings file {file} is not YAML: {_yaml_problem(error)}", "mend it or move it away"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise CannotStart(Exit.SETTINGS, f"the settings file {file} holds no settings", "write lines like `port: 8470`")
    return document


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join((getattr(error, "problem", None) or str(error)).split())
    return f"line {mark.line + 1}: {problem}" if mark else problem


def _wrong(error: ValidationError, options: Mapping[str, Any], file: Path | None) -> CannotStart:
    first = error.errors(include_url=False)[0]
    path = [str(step) for step in first["loc"]]
    name = ".".join(path)
    where = _where(path, options, file)
    if first["type"] == "extra_forbidden":
        known = list(_known(Settings, path[:-1]))
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
        return CannotStart(Exit.SETTINGS, f"{where}: no setting is called {name!r}", remedy)
    shown = "" if first["type"] == "missing" or "secret" in name or "key" in name else f" is {first['input']!r}"
    return CannotStart(Exit.SETTINGS, f"{where}: {name}{shown}: {first['msg']}", "correct it or leave it out")


def _where(path: list[str], options: Mapping[str, Any], file: Path | None) -> str:
    if path[0] in options:
        return f"--{path[0].replace('_', '-')}"
    variable = _PREFIX + path[0].upper()
    for name in os.environ:
        if name.upper() == variable or name.upper().startswith(variable + "__"):
            return name
    return str(file) if file else "settings"


def _known(model: type[BaseModel], path: list[str]) -> Iterator[str]:
    """The names that would have been right there."""
    for step in path:
        field = model.model_fields.get(step)
        inner = [t for t in (field.annotation, *get_args(field.annotation)) if isinstance(t, type)] if field else []
        section = next((t for t in inner if issubclass(t, BaseModel)), None)
        if section is None:
            return
        model = section
    yield from model.model_fields
