"""docs/settings.md, from the fields of `gpuyard.server.settings`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docs_text import heading, table
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from gpuyard.server.settings import Settings

OPENING = """\
Settings come from three places, the later over the earlier: `gpuyard.yaml`, environment variables `GPUYARD_…`, and options of
`gpuyard up`. In the file a section is a nested mapping; in the environment it is joined by two underscores:

```yaml
port: 9000
rate_limit:
  per_second: 50
```

is the same as `GPUYARD_PORT=9000 GPUYARD_RATE_LIMIT__PER_SECOND=50`. Lists and mappings in the environment are JSON.
A name the yard does not know is an error, not a silent default.
"""


def page() -> str:
    rows = [
        (
            f"`{name}`",
            f"`{variable(name)}`",
            type_words(field.annotation),
            default_words(field),
            field.description or "",
        )
        for name, field in fields(Settings)
    ]
    return (
        heading("Settings", source="src/gpuyard/server/settings.py", opening=OPENING)
        + "\n"
        + table(["Setting", "Variable", "Kind", "Default", "Meaning"], rows)
    )


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted name, sections opened."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def variable(name: str) -> str:
    return "GPUYARD_" + name.replace(".", "__").upper()


def type_words(annotation: Any) -> str:
    """A type as a person would say it: `int | None` is a number that need not be given."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return type_words(get_args(annotation)[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_words(part) for part in get_args(annotation) if part is not type(None)))
    plain = {str: "text", int: "whole number", float: "number", bool: "yes or no", SecretStr: "secret text"}
    if origin in (list, tuple, frozenset):
        return "list"
    if origin is dict:
        return "mapping"
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def default_words(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default in (None, {}, []):
        return "–"
    return f"`{default if isinstance(default, str) else json.dumps(default, default=str)}`"
