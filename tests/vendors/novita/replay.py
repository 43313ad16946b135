"""Runs in an environment of its own: `python replay.py surface`, or `python replay.py calls URL`. What it finds is printed
as JSON. It imports the published package, and of ours nothing but `calls.py` beside it."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import urllib.request
from typing import Any

import novita  # type: ignore[import-not-found]
from calls import CALLS  # type: ignore[import-not-found]
from novita.generated import models  # type: ignore[import-not-found]


def surface() -> dict[str, Any]:
    gpu = novita.NovitaClient("k").gpu
    methods = {
        f"{resource}.{name}": [[one.name, one.kind.name, repr(one.default)] for one in parameters(method)]
        for resource, held in vars(gpu).items()
        if not resource.startswith("_")
        for name, method in inspect.getmembers(held, inspect.ismethod)
        if not name.startswith("_")
    }
    shapes = {
        name: {attribute: field.alias or attribute for attribute, field in getattr(shape, "model_fields", {}).items()}
        for name, shape in inspect.getmembers(models, inspect.isclass)
        if shape.__module__ == models.__name__
    }
    errors = {
        name: [base.__name__ for base in error.__mro__]
        for name, error in inspect.getmembers(novita, inspect.isclass)
        if issubclass(error, Exception)
    }
    return {"names": list(novita.__all__), "methods": methods, "shapes": shapes, "errors": errors}


def parameters(method: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def replay(url: str) -> dict[str, str]:
    """Every call, in both manners; what failed, and how."""
    failed = {}
    with novita.NovitaClient("test-key", base_url=url) as client:
        for name, call in CALLS.items():
            begin(url, f"sync {name}")
            try:
                call(client.gpu, models)
            except Exception as error:
                failed[f"sync {name}"] = repr(error)
    return failed | asyncio.run(replay_later(url))


async def replay_later(url: str) -> dict[str, str]:
    failed = {}
    async with novita.AsyncNovitaClient("test-key", base_url=url) as client:
        for name, call in CALLS.items():
            begin(url, f"async {name}")
            try:
                await call(client.gpu, models)
            except Exception as error:
                failed[f"async {name}"] = repr(error)
    return failed


def begin(url: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/begin", data=name.encode())).read()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(surface() if sys.argv[1] == "surface" else replay(sys.argv[2])))
