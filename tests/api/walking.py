"""Every route of the API's own description, with something plausible in every place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

BODIES: Mapping[str, Any] = {
    "CreateInstance": {"gpus": [], "name": "made-by-walk"},
    "ChangeInstance": {"priority": 1},
    "StartInstance": {},
    "CreateExecution": {"kind": "shell", "command": "true"},
    "SignalExecution": {"signal": "TERM"},
    "StartKernel": {},
    "SignalKernel": {"signal": "INT"},
    "StartApp": {},
    "CreateAccount": {"name": "made-by-walk"},
    "ChangeAccount": {"name": "renamed"},
    "AddCredit": {"amount_micro": 1},
    "CreateMember": {"name": "made-by-walk"},
    "ChangeMember": {"name": "renamed"},
    "CreateKey": {"name": "made-by-walk"},
}


@dataclass(frozen=True)
class Step:
    method: str
    pattern: str
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.pattern}"

    def path(self, values: Mapping[str, str]) -> str:
        return self.pattern.format(
            **{"path": "x.txt", "name": "jupyterlab", "kernel": "main", "terminal": "t", **values}
        )

    @property
    def query(self) -> dict[str, str]:
        return {"move_to": "y.txt"} if self.pattern.endswith("/files/{path}") and self.method == "POST" else {}

    @property
    def writes(self) -> bool:
        return self.method != "GET"


def steps(document: Mapping[str, Any]) -> Iterator[Step]:
    """Reads before writes, and what ends things last, so that what one step does spoils no other."""
    found = []
    for pattern, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            references = [content, *content.get("anyOf", ())]
            name = next((part["$ref"].rpartition("/")[2] for part in references if "$ref" in part), None)
            found.append(Step(method.upper(), pattern, None if name is None else BODIES[name]))
    order = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    yield from sorted(found, key=lambda step: order.index(step.method))


async def ask(client: httpx.AsyncClient, step: Step, values: Mapping[str, str]) -> httpx.Response:
    return await client.request(step.method, step.path(values), params=step.query, json=step.body)
