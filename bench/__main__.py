"""`python -m bench [NAME …]`: measure all, or what the names are part of; print a table and keep the figures."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.measurement import Measurement, Outcome, measure
from bench.measurements import imports, listing, planning, ready, requests, sdk, startup

MEASUREMENTS: Sequence[Measurement] = [
    measurement
    for module in (startup, requests, listing, ready, sdk, imports, planning)
    for measurement in module.MEASUREMENTS
]
HERE = Path(__file__).parent


async def run(chosen: Sequence[Measurement], rounds: int | None) -> list[Outcome]:
    outcomes = []
    for measurement in chosen:
        began = time.monotonic()
        print(f"{measurement.name} …", file=sys.stderr, end=" ", flush=True)
        try:
            outcome = await measure(measurement, rounds=rounds)
        except Exception as error:  # the others are still worth their figures
            traceback.print_exc()
            outcome = Outcome(measurement, problem=str(error).splitlines()[0] if str(error) else type(error).__name__)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
        outcomes.append(outcome)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of names of measurements; all unless given")
    parser.add_argument("--rounds", type=int, help="how often each contender is measured")
    parser.add_argument("--list", action="store_true", help="say what can be measured")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    if options.names and options.write_docs:
        parser.error("--write-docs shows one whole run: leave out the names")
    chosen = [m for m in MEASUREMENTS if not options.names or any(name in m.name for name in options.names)]
    if options.list or not chosen:
        print("\n".join(m.name for m in MEASUREMENTS))
        return 0 if options.list else 2
    at = datetime.now(UTC)
    outcomes = asyncio.run(run(chosen, options.rounds))
    print(f"\n{report.machine()}\n\n{report.terminal(outcomes)}\n")
    print(f"kept in {report.save(HERE / 'results', report.as_json(outcomes, at), at).relative_to(Path.cwd())}")
    if options.write_docs:
        (HERE.parent / "docs" / "benchmarks.md").write_text(report.markdown(outcomes, at))
    return 1 if any(outcome.problem for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
