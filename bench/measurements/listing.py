"""A page of a small yard beside the same page of a huge one."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

from bench.load import Load, in_own_process
from bench.measurement import Aim, Better, Contender, Measurement
from bench.measurements.requests import FAKE, ORDER
from bench.processes import Server, a_yard

CLONED: Mapping[str, str] = {
    "id": "printf('inst_%08x%016x', n.i, n.i)",
    "short_id": "printf('%08x', n.i)",
    "name": "'bulk-' || n.i",
    "state": "'stopped'",
    "created_at": "t.created_at - n.i * 1000000",
    "live": "1",
    "wake_at": "NULL",
    "due_at": "NULL",
}
"""What a copy of an instance's row has of its own; nobody is due to look at it."""


async def _seeded(directory: Path, count: int) -> None:
    """Make a yard in `directory` and fill it with `count` stopped instances, copies of one made through the API."""
    async with a_yard(providers=FAKE, directory=directory) as yard, yard.client() as client:
        made = (await client.post("/yard/v1/instances", json=ORDER)).raise_for_status().json()
    (database,) = directory.rglob("yard.db")
    with closing(sqlite3.connect(database)) as db, db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(instances)")]
        values = ", ".join(CLONED.get(column, f"t.{column}") for column in columns)
        db.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO instances ({', '.join(columns)}) SELECT {values} FROM n, instances t WHERE t.id = ?",
            (count, made["id"]),
        )


def page_of(server: Server) -> Contender:
    async def measured() -> float:
        load = Load(f"{server.url}/yard/v1/instances?limit=100", key=server.key, connections=1, seconds=2)
        return (await in_own_process(load)).p50_ms

    return measured


@asynccontextmanager
async def _pages() -> AsyncIterator[Mapping[str, Contender]]:
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as scratch:
        small, large = Path(scratch, "small"), Path(scratch, "large")
        for directory, count in ((small, 1_000), (large, 1_000_000)):
            directory.mkdir()
            await _seeded(directory, count)
        async with (
            a_yard(providers=FAKE, directory=large) as huge,
            a_yard(providers=FAKE, directory=small) as tiny,
        ):
            yield {"out of 1,000,000": page_of(huge), "out of 1,000": page_of(tiny)}


MEASUREMENTS = [
    Measurement(
        "list of 100",
        "ms",
        Better.LESS,
        _pages,
        Aim(1.2, beside="out of 1,000"),
        note="The median of one connection asking for the newest page, all instances live; 1.2 allows for the noise of the machine.",
    )
]
