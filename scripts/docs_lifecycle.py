"""docs/lifecycle.md: the life of an instance and of an execution, drawn from their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from docs_text import heading, member_docs, table

from gpuyard.domain.executions import EXECUTION_LIFECYCLE, ExecutionEvent, ExecutionState
from gpuyard.domain.instances import ACTIVE, INSTANCE_LIFECYCLE, PATIENCE, InstanceEvent, InstanceState
from gpuyard.domain.lifecycle import Lifecycle

OPENING = """\
A state changes only by an arrow of these tables; a request that has none is answered `illegal_state` with what is possible
instead. Nothing costs money before `running` or after it, and a running instance costs the price that was fixed when it was placed.
"""


def page() -> str:
    return "\n".join(
        [
            heading("Lifecycles", source="src/gpuyard/domain/instances.py and executions.py", opening=OPENING),
            "## Instances\n",
            diagram(INSTANCE_LIFECYCLE, leave_out=InstanceEvent.DELETE),
            f"`{InstanceEvent.DELETE}` leads to `{InstanceState.DELETING}` from every state but the last two, and is left out of the picture.\n",
            table(["State", "Meaning", "Active", "We give up after", "Leaves by"], instance_rows()),
            "## Events of instances\n",
            table(["Event", "Meaning", "Moves"], event_rows(INSTANCE_LIFECYCLE, InstanceEvent)),
            "## Executions\n",
            diagram(EXECUTION_LIFECYCLE),
            table(["State", "Meaning", "Leaves by"], execution_rows()),
            "## Events of executions\n",
            table(["Event", "Meaning", "Moves"], event_rows(EXECUTION_LIFECYCLE, ExecutionEvent)),
        ]
    )


def diagram(lifecycle: Lifecycle[Any, Any], leave_out: StrEnum | None = None) -> str:
    """The table as a picture; moves between the same two states share an arrow."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, event), target in lifecycle.arrows.items():
        if event is not leave_out:
            labels.setdefault((source, target), []).append(event.replace("_", " "))
    arrows = [f"  {source} --> {target}: {', '.join(events)}" for (source, target), events in labels.items()]
    ends = [f"  {state} --> [*]" for state in type(lifecycle.start) if not lifecycle.events_from(state)]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"  [*] --> {lifecycle.start}", *arrows, *ends, "```", ""])


def instance_rows() -> Iterator[tuple[str, ...]]:
    docs = member_docs(InstanceState)
    for state in InstanceState:
        yield (
            f"`{state}`",
            docs.get(state.name, ""),
            "yes" if state in ACTIVE else "",
            patience_words(PATIENCE, state),
            event_list(INSTANCE_LIFECYCLE, state),
        )


def execution_rows() -> Iterator[tuple[str, ...]]:
    docs = member_docs(ExecutionState)
    for state in ExecutionState:
        yield f"`{state}`", docs.get(state.name, ""), event_list(EXECUTION_LIFECYCLE, state)


def event_rows(lifecycle: Lifecycle[Any, Any], events: type[StrEnum]) -> Iterator[tuple[str, ...]]:
    docs = member_docs(events)
    for event in events:
        moves = [f"`{source}` → `{target}`" for (source, by), target in lifecycle.arrows.items() if by == event]
        yield f"`{event}`", docs.get(event.name, ""), ", ".join(moves)


def event_list(lifecycle: Lifecycle[Any, Any], state: StrEnum) -> str:
    return ", ".join(f"`{event}`" for event in sorted(lifecycle.events_from(state))) or "nothing: it is the end"


def patience_words(patience: Mapping[Any, timedelta], state: StrEnum) -> str:
    limit = patience.get(state)
    return "" if limit is None else f"{limit.total_seconds() / 60:.0f} minutes"
