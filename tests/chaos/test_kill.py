"""kill -9 at any instant: nothing acknowledged is gone, no process has no owner, and the bill equals a recount."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.chaos.load import GPU, Ledger, load
from tests.yards import RunningYard, start_yard

SHORT_ROUNDS, LONG_ROUNDS = 20, 300
CARDS = 4
WARM = 1
MARK = "gpuyard-slot="
SETTLE_SECONDS = 60.0
UNSETTLED = {"requested", "provisioning", "stopping", "starting", "deleting"}


def test_twenty_kills_under_load_lose_leak_and_overcharge_nothing(tmp_path: Path) -> None:
    survive(tmp_path, SHORT_ROUNDS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_kills_under_load_lose_leak_and_overcharge_nothing(tmp_path: Path) -> None:
    survive(tmp_path, LONG_ROUNDS)


def survive(tmp: Path, rounds: int) -> None:
    rng = random.Random(int(os.environ.get("GPUYARD_CHAOS_SEED", "7")))
    ledger = Ledger()
    for _ in range(rounds):
        yard = started(tmp)
        try:
            nothing_acknowledged_is_gone(yard, ledger, last=40)  # all of it is looked at again in the end
            asyncio.run(loaded_for(yard, ledger, rng))
        finally:
            yard.kill()
    yard = started(tmp)
    try:
        settle(yard)
        nothing_acknowledged_is_gone(yard, ledger)
        no_card_serves_two(yard)
        every_process_has_an_owner(yard, tmp)
        yard.empty()
        executions_have_ended(yard, ledger)
        usage_equals_a_recount(tmp)
    finally:
        yard.close()
    assert len(ledger.instances) > rounds, "the load was too light to show anything"
    assert processes_of(tmp) == []
    assert slots_with_processes(tmp) == set()


def started(tmp: Path) -> RunningYard:
    return start_yard(tmp, args=["--simulate", f"{GPU}={CARDS}"])


async def loaded_for(yard: RunningYard, ledger: Ledger, rng: random.Random) -> None:
    """Load it for a random while and kill it in the middle."""
    work = asyncio.create_task(load(yard, ledger, rng))
    await asyncio.wait({work}, timeout=rng.uniform(0.1, 1.2))
    yard.kill()
    work.cancel()
    results = await asyncio.gather(work, return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, asyncio.CancelledError), result


def client(yard: RunningYard) -> httpx.Client:
    headers = {"Authorization": f"Bearer {yard.key}"}
    return httpx.Client(base_url=f"{yard.url}/yard/v1", headers=headers, timeout=30)


def nothing_acknowledged_is_gone(yard: RunningYard, ledger: Ledger, *, last: int = 0) -> None:
    """Of each kind the `last` ones, or all."""
    with client(yard) as http:
        for made in list(ledger.instances.values())[-last:]:
            assert http.get(f"/instances/{made}").status_code == 200, f"{made} was acknowledged and is gone"
        for execution, instance in list(ledger.executions.items())[-last:]:
            found = http.get(f"/instances/{instance}/executions/{execution}")
            assert found.status_code == 200, f"{execution} was acknowledged and is gone"
        for deleted in list(ledger.deletions)[-last:]:
            state = http.get(f"/instances/{deleted}").json()["state"]
            assert state in ("deleting", "deleted"), f"{deleted} was deleted and is {state}"


def settle(yard: RunningYard) -> None:
    """Wait until every instance is where it rests."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with client(yard) as http:
        while passing := [i for i in http.get("/instances?limit=1000").json()["items"] if i["state"] in UNSETTLED]:
            assert time.monotonic() < deadline, f"they never rest: {[(i['id'], i['state']) for i in passing]}"
            time.sleep(0.1)  # noqa: TID251  # a test outside any event loop waits for a real process


def no_card_serves_two(yard: RunningYard) -> None:
    """What each running instance says of its own cards."""
    seen: dict[str, str] = {}
    with client(yard) as http:
        for instance in http.get("/instances?state=running").json()["items"]:
            gpus = http.get(f"/instances/{instance['id']}/samples").json()["gpus"]
            assert len(gpus) == sum(gpu["count"] for gpu in instance["gpus"])
            for gpu in gpus:
                other = seen.setdefault(gpu["uuid"], instance["id"])
                assert other == instance["id"], f"{gpu['uuid']} serves {other} and {instance['id']}"
    assert len(seen) <= CARDS


def every_process_has_an_owner(yard: RunningYard, tmp: Path) -> None:
    """Every machine with a process is a running instance's, or waits in the warm pool of the server that lives."""
    with client(yard) as http:
        running = {i["id"] for i in http.get("/instances?state=running").json()["items"]}
    slots = {link.resolve().name: link.name for link in tmp.rglob("instances/inst_*")}
    busy = slots_with_processes(tmp)

    astray = {slots[slot] for slot in busy & slots.keys()} - running
    spare = busy - slots.keys()
    assert not astray, f"processes of instances that do not run: {astray}"
    assert len(spare) <= WARM, f"machines nobody owns: {spare}"
    assert running <= {slots[slot] for slot in busy & slots.keys()}, "an instance runs without a process"


def executions_have_ended(yard: RunningYard, ledger: Ledger) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    with client(yard) as http:
        for execution, instance in ledger.executions.items():
            while (state := http.get(f"/instances/{instance}/executions/{execution}").json()["state"]) in (
                "accepted",
                "running",
            ):
                assert time.monotonic() < deadline, f"{execution} never ended: {state}"
                time.sleep(0.1)  # noqa: TID251


def usage_equals_a_recount(tmp: Path) -> None:
    """Recount from the events alone what every run cost, and compare it with the ledger, to the millionth."""
    rows = read(tmp, "select subject, at, data from events where kind like 'instance.%' order by seq")
    prices = dict(read(tmp, "select id, price_per_hour_micro from instances"))
    charged: defaultdict[str, int] = defaultdict(int)
    for instance, amount in read(tmp, "select instance_id, amount_micro from ledger_entries where kind = 'usage'"):
        charged[instance] -= amount
    intervals = read(tmp, "select instance_id, started_at, ended_at, charged_micro from usage_intervals")

    for instance, began, ended, interval_charged in intervals:
        assert ended is not None, f"{instance} ended and is still on the meter"
        assert interval_charged == prices[instance] * (ended - began) // 3_600_000_000
    for instance, runs in runs_of(rows).items():
        begun = sorted(began for owner, began, _, _ in intervals if owner == instance)
        assert begun == [began for began, _ in runs], f"{instance}: a run that was charged twice or never"
        most = sum(prices[instance] * (left - began) // 3_600_000_000 for began, left in runs)
        assert 0 <= charged[instance] <= most, f"{instance} was charged for more than it ran"
    assert sum(charged.values()) == sum(row[3] for row in intervals)
    assert charged, "nothing ever ran, so nothing was shown"


def runs_of(rows: list[tuple[str, int, str]]) -> dict[str, list[tuple[int, int]]]:
    runs: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    since: dict[str, int] = {}
    for instance, at, data in rows:
        state = json.loads(data)["state"]
        if state == "running" and instance not in since:
            since[instance] = at
        elif state != "running" and instance in since:
            runs[instance].append((since.pop(instance), at))
    return runs


def read(tmp: Path, sql: str) -> list[Any]:
    [database] = list((tmp / "home").rglob("*.db"))
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def slots_with_processes(tmp: Path) -> set[str]:
    """Machines of this yard that some living process belongs to."""
    ours = {machine.name for machine in tmp.rglob("machines/*")}
    return ours & {slot for process in psutil.process_iter() for slot in slots_of(process)}


def slots_of(process: psutil.Process) -> Iterator[str]:
    try:
        yield from (word.removeprefix(MARK) for word in process.cmdline() if word.startswith(MARK))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


def processes_of(tmp: Path) -> list[str]:
    """Whatever runs with this yard's home on its command line or as its directory."""
    return [place for process in psutil.process_iter() for place in places(process) if str(tmp) in place]


def places(process: psutil.Process) -> Iterator[str]:
    try:
        yield " ".join(process.cmdline())
        yield process.cwd()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
