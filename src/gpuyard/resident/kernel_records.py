"""Jupyter's messages translated into journal records; nothing else knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuyard.resident.journal import Journal


def write(journal: Journal, kind: str, content: Mapping[str, Any], parent: str | None = None) -> None:
    """Put one message into a journal; messages that say nothing to a reader are left out."""
    family = {} if parent is None else {"parent": parent}
    match kind:
        case "stream":
            journal.text(content["name"], content["text"], parent=parent)
        case "display_data" | "update_display_data":
            journal.rich("display", **_display(kind, content), **family)
        case "execute_result":
            data = content["data"]
            journal.rich("result", text=data.get("text/plain", ""), data=data, **family)
        case "error":
            trace = "\n".join(content["traceback"])
            journal.record("error", ename=content["ename"], evalue=content["evalue"], traceback=trace, **family)
        case "clear_output":
            journal.record("clear", wait=bool(content.get("wait")), **family)
        case "input_request":
            journal.record("input", prompt=content["prompt"], password=bool(content.get("password")), **family)
        case _:
            pass


def _display(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"data": content["data"], "meta": content.get("metadata") or {}}
    name = (content.get("transient") or {}).get("display_id")
    if name is not None:
        fields["update" if kind == "update_display_data" else "id"] = name
    return fields
