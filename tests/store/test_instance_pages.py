from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import Invalid
from gpuyard.domain.ids import AccountId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.store import InstanceFilter
from gpuyard.store import SqlStore, cursors
from gpuyard.store.instance_pages import _branches, _params, _statement
from gpuyard.store.opening import database_at
from tests.store.builders import SECOND, an_instance, settled, stored
from tests.store.seed import bulk_instances

S = InstanceState
LIVE = frozenset(S) - {S.DELETED}


async def all_pages(store: SqlStore, account_id: AccountId, filter: InstanceFilter, limit: int) -> list[Instance]:
    found: list[Instance] = []
    cursor: str | None = None
    while True:
        page = await store.read(
            lambda tx, cursor=cursor: tx.instances.page(account_id, filter, limit=limit, cursor=cursor)
        )
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def expected(everything: Sequence[Instance], account_id: AccountId, filter: InstanceFilter) -> list[Instance]:
    """What a page says, in the plainest words."""
    states = LIVE if filter.states is None else filter.states
    return sorted(
        (
            one
            for one in everything
            if one.account_id == account_id
            and one.state in states
            and filter.labels.items() <= one.labels.items()
            and filter.name in (None, one.name)
            and (filter.gpu_type is None or filter.gpu_type in one.spec.demand())
            and filter.provider in (None, one.provider)
        ),
        key=lambda one: (one.created_at, one.id),
        reverse=True,
    )


def some_instances(account_id: AccountId, count: int) -> list[Instance]:
    rng = random.Random(7)
    return [
        an_instance(
            account_id,
            state := rng.choice([*S, S.DELETED, S.RUNNING]),
            name=f"name-{rng.randrange(3)}" if state is S.DELETED else f"live-{n}",
            age=rng.randrange(20) * SECOND,  # several of one age: the id decides
            labels=dict(rng.sample([("team", "a"), ("team", "b"), ("tier", "x"), ("odd", "\x00\ud800")], 2)),
            gpus=rng.choice([{"l4": 1}, {"h100": 2}, {"l4": 1, "h100": 1}]),
            provider=rng.choice([None, "local", "novita"]),
        )
        for n in range(count)
    ]


filters = st.builds(
    InstanceFilter,
    states=st.none() | st.frozensets(st.sampled_from(S)) | st.just(frozenset(S)) | st.just(LIVE),
    labels=st.dictionaries(st.sampled_from(["team", "tier", "odd"]), st.sampled_from(["a", "x", "\x00\ud800"])),
    name=st.none() | st.sampled_from(["name-1", "live-7", "nobody"]),
    gpu_type=st.none() | st.sampled_from(["l4", "h100", "t4"]),
    provider=st.none() | st.sampled_from(["local", "novita", "none"]),
)


async def test_every_filter_gives_what_the_plain_words_say(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    everything = some_instances(account.id, 150)
    await stored(store, *everything, *some_instances(other.id, 20))
    tried: list[tuple[InstanceFilter, int]] = []

    @settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(filters, st.sampled_from([1, 3, 50, 1000]))
    def collect(filter: InstanceFilter, limit: int) -> None:
        tried.append((filter, limit))

    collect()
    for wanted, limit in tried:
        assert await all_pages(store, account.id, wanted, limit) == expected(everything, account.id, wanted), wanted


async def test_seeded_instances_are_like_any_others(store: SqlStore, account: Account) -> None:
    await bulk_instances(store, account.id, 40)
    await bulk_instances(store, account.id, 40)

    found = await all_pages(store, account.id, InstanceFilter(labels={"team": "vision"}), 7)

    everything = await store.read(lambda tx: tx.instances.in_state(*S))
    assert len(everything) == 80
    assert found == expected(everything, account.id, InstanceFilter(labels={"team": "vision"}))


async def test_an_instance_added_between_two_pages_moves_nothing(store: SqlStore, account: Account) -> None:
    young, old, oldest = (an_instance(account.id, age=n * SECOND) for n in range(3))
    await stored(store, young, old, oldest)
    first = await store.read(lambda tx: tx.instances.page(account.id, InstanceFilter(), limit=2, cursor=None))
    await stored(store, an_instance(account.id, age=-timedelta(hours=1)))

    second = await store.read(
        lambda tx: tx.instances.page(account.id, InstanceFilter(), limit=2, cursor=first.next_cursor)
    )

    assert (first.items, second.items, second.next_cursor) == ([young, old], [oldest], None)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "ü",
        "null",
        "\x00",
        "a" * 100_000,
        cursors.encode("executions", 1, "inst_1"),
        cursors.encode("instances", 1),
        cursors.encode("instances", "1", "inst_1"),
        cursors.encode("instances", 2**70, "inst_1"),
        cursors.encode("instances", True, "inst_1"),
        cursors.encode("instances", 1, "\x00"),
        cursors.encode("instances", 1, "inst_1")[:-3],
    ],
)
async def test_a_cursor_that_is_not_ours_is_invalid(store: SqlStore, account: Account, cursor: str) -> None:
    with pytest.raises(Invalid) as invalid:
        await store.read(lambda tx: tx.instances.page(account.id, InstanceFilter(), limit=2, cursor=cursor))

    assert invalid.value.field == "cursor"


@pytest.mark.parametrize(
    ("filter", "index"),
    [
        (InstanceFilter(), "ix_instances_list"),
        (InstanceFilter(states=frozenset(S)), "ix_instances_list"),
        (InstanceFilter(states=frozenset({S.RUNNING})), "ix_instances_list_by_state"),
        (InstanceFilter(provider="local"), "ix_instances_list_by_provider"),
        (InstanceFilter(name="fern"), "uq_instances_live_name"),
        (InstanceFilter(labels={"team": "a"}), "ix_instance_labels_list"),
        (InstanceFilter(labels={"team": "a", "tier": "x"}, gpu_type="l4"), "ix_instance_labels_list"),
        (InstanceFilter(gpu_type="l4"), "ix_instance_gpus_list"),
        (InstanceFilter(gpu_type="l4", states=frozenset({S.WAITING})), "ix_instances_list_by_state"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_page_is_read_in_order_from_one_index(
    sqlite_url: str, filter: InstanceFilter, index: str, *, later: bool
) -> None:
    database = database_at(sqlite_url)
    connection = database.connect(writable=False)
    states = LIVE if filter.states is None else filter.states
    params = {**_params(AccountId("a"), filter, states), "limit": 100, "at": 1, "at_id": "x", "state": "running"}

    for shape, _ in _branches(filter, states, later=later):
        sql, constants = _statement(shape).compiled(database.dialect)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", {**params, **constants}).fetchall()]

        assert index in plan[0]
        # A name is live once in an account: there is nothing to sort.
        assert filter.name or not any("B-TREE" in step for step in plan), plan
    connection.close()
