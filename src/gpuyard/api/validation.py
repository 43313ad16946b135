"""Says about a refused request which field is wrong, what it holds and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Wrong:
    message: str
    field: str | None = None
    hint: str | None = None
    malformed: bool = False
    """It could not even be read: 400, not 422."""


def first_wrong(errors: Sequence[Mapping[str, Any]], route: object) -> Wrong:
    """The first of pydantic's complaints, in our words."""
    error = errors[0]
    place, *steps = error["loc"]
    field = path_of(steps) or None
    kind = error["type"]
    if kind == "json_invalid":
        reason = error.get("ctx", {}).get("error", "it cannot be parsed")
        where = f" at character {steps[0]}" if steps else ""
        return Wrong(f"the body is not JSON: {reason}{where}", hint="send one JSON object", malformed=True)
    if kind == "missing" and field is None:
        return Wrong("the request has no body", hint="send a JSON object as application/json")
    if field is None and kind in ("model_attributes_type", "dict_type", "model_type"):
        return Wrong("the body is not a JSON object", hint="send one as application/json", malformed=True)
    if kind == "missing":
        return Wrong(f"{field} is missing", field, _known_hint(error))
    if kind == "extra_forbidden":
        known = list(_known(_body_model(route), steps[:-1])) if place == "body" else []
        near = difflib.get_close_matches(str(steps[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else (f"there is: {', '.join(known)}" if known else None)
        return Wrong(f"there is no field {field!r}", field, hint)
    return Wrong(f"{field or 'the body'} is {_shown(error.get('input'))}: {_right(error)}", field)


def path_of(steps: Iterable[str | int]) -> str:
    """`("gpus", 0, "count")` → `gpus[0].count`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _right(error: Mapping[str, Any]) -> str:
    told = str(error["msg"])
    return told.removeprefix("Value error, ")[:1].lower() + told.removeprefix("Value error, ")[1:]


def _known_hint(error: Mapping[str, Any]) -> str | None:
    sent = error.get("input")
    missing = str(error["loc"][-1])
    near = difflib.get_close_matches(missing, [str(name) for name in sent], n=1) if isinstance(sent, dict) else []
    return f"{near[0]!r} was sent" if near else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _body_model(route: object) -> object:
    body = getattr(route, "body_field", None) if isinstance(route, APIRoute) else None
    return getattr(getattr(body, "field_info", None), "annotation", None)


def _known(annotation: object, steps: Sequence[str | int]) -> Iterator[str]:
    """The names of the fields at that place, found by walking down the shape."""
    model = _model_in(annotation)
    for step in steps:
        if model is None:
            return
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation)
    if model is not None:
        yield from model.model_fields


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
