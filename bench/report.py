"""What came out: as a table for a terminal, as JSON, and as docs/benchmarks.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.measurement import Outcome

COLUMNS = ("", "min", "median", "max", "unit", "× subject", "aim")
VERDICT = {True: "reached", False: "MISSED", None: ""}


def rows(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    measurement = outcome.measurement
    if outcome.problem:
        yield measurement.name, "–", "–", "–", "", "", outcome.problem
    for name, figures in outcome.figures.items():
        is_subject = name == outcome.subject
        aim = measurement.aim
        yield (
            f"{measurement.name}: {name}",
            short(figures.least),
            short(figures.median),
            short(figures.most),
            measurement.unit,
            "" if is_subject else f"{1 / outcome.ratio(name):.2f}",
            f"{aim.words(measurement.better, measurement.unit)} {VERDICT[outcome.reached()]}".strip()
            if aim and is_subject
            else "",
        )


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def terminal(outcomes: Sequence[Outcome]) -> str:
    lines = [COLUMNS, *(row for outcome in outcomes for row in rows(outcome))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, 4, 6) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_json(outcomes: Sequence[Outcome], at: datetime) -> str:
    document = {
        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "measurements": [
            {
                "name": outcome.measurement.name,
                "unit": outcome.measurement.unit,
                "better": outcome.measurement.better,
                "problem": outcome.problem or None,
                "reached": outcome.reached(),
                "contenders": {
                    name: {"min": f.least, "median": f.median, "max": f.most, "values": list(f.values)}
                    for name, f in outcome.figures.items()
                },
            }
            for outcome in outcomes
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def markdown(outcomes: Sequence[Outcome], at: datetime) -> str:
    lines = [
        "# Benchmarks",
        "",
        "<!-- Written by `python -m bench --write-docs`. -->",
        "",
        f"The last run: {at:%d %B %Y}, on a machine with {machine()}, SQLite, every acknowledged write on disk. Subject and peers",
        "are measured in the same run, in turn, several rounds each; the column `× subject` says how many times the subject's",
        "median a peer's median is. `make bench` repeats all of it; its harness is in `bench/`.",
        "",
        "| Measurement | min | median | max | unit | × subject | aim |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- |",
        *(f"| {' | '.join(row)} |" for outcome in outcomes for row in rows(outcome)),
        "",
        "## What is measured",
        "",
        *(f"- **{o.measurement.name}.** {o.measurement.note}" for o in outcomes if o.measurement.note),
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{cores} core{'s' if cores > 1 else ''} and {psutil.virtual_memory().total / 2**30:.0f} GB of memory"


def save(folder: Path, text: str, at: datetime) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (f"{at:%Y%m%d-%H%M%S}.json", "latest.json"):
        (folder / name).write_text(text)
    return folder / "latest.json"
