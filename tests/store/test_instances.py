from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gpuyard.domain.accounts import Account
from gpuyard.domain.errors import NameTaken
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import GpuRequest, InstanceSpec, InstanceState, Limits
from gpuyard.ports.store import InstanceFilter
from gpuyard.store import SqlStore
from tests.store.builders import NOW, SECOND, an_account, an_instance, settled, stored

S = InstanceState


async def test_an_instance_is_found_by_id_short_id_and_name(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id, name="fern")
    await stored(store, instance)

    for ref in (instance.id, instance.short_id, "fern"):
        assert await store.read(lambda tx, ref=ref: tx.instances.find(account.id, ref)) == instance
    assert await store.read(lambda tx: tx.instances.get(instance.id)) == instance
    assert await store.read(lambda tx: tx.instances.by_short_id(instance.short_id)) == instance


async def test_another_account_finds_nothing_by_any_name(store: SqlStore, account: Account) -> None:
    instance, other = an_instance(account.id, name="fern"), await settled(store)
    await stored(store, instance)

    for ref in (instance.id, instance.short_id, "fern", "moss"):
        assert await store.read(lambda tx, ref=ref: tx.instances.find(other.id, ref)) is None


async def test_a_deleted_instance_is_found_by_its_ids_and_no_longer_by_name(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id, S.DELETED, name="fern")
    await stored(store, instance)

    assert await store.read(lambda tx: tx.instances.find(account.id, instance.id)) == instance
    assert await store.read(lambda tx: tx.instances.find(account.id, instance.short_id)) == instance
    assert await store.read(lambda tx: tx.instances.find(account.id, "fern")) is None


async def test_two_live_instances_of_an_account_cannot_share_a_name(store: SqlStore, account: Account) -> None:
    await stored(store, an_instance(account.id, name="fern"))

    with pytest.raises(NameTaken) as taken:
        await stored(store, an_instance(account.id, name="fern"))

    assert taken.value.field == "name"


async def test_after_a_taken_name_the_same_function_may_add_another(store: SqlStore, account: Account) -> None:
    await stored(store, an_instance(account.id, name="fern"))
    spare = an_instance(account.id, name="fern-2")

    def add(tx) -> None:
        with pytest.raises(NameTaken):
            tx.instances.add(an_instance(account.id, name="fern"), wake_at=None)
        tx.instances.add(spare, wake_at=None)

    await store.write(add)
    assert await store.read(lambda tx: tx.instances.find(account.id, "fern-2")) == spare


async def test_other_accounts_and_deleted_instances_do_not_take_a_name(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    await stored(store, an_instance(other.id, name="fern"), an_instance(account.id, S.DELETED, name="fern"))
    mine = an_instance(account.id, name="fern")

    await stored(store, mine)

    assert await store.read(lambda tx: tx.instances.find(account.id, "fern")) == mine


async def test_an_instance_cannot_be_renamed_to_a_taken_name(store: SqlStore, account: Account) -> None:
    moss = an_instance(account.id, name="moss")
    await stored(store, an_instance(account.id, name="fern"), moss)

    with pytest.raises(NameTaken):
        await store.write(lambda tx: tx.instances.save(replace(moss, name="fern")))

    assert await store.read(lambda tx: tx.instances.find(account.id, "moss")) == moss


async def test_save_writes_every_field_that_may_change(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance)
    changed = replace(
        instance,
        name="fern",
        state=S.RUNNING,
        entered_at=NOW + SECOND,
        spec=InstanceSpec((GpuRequest("nvidia-h100", 2),), 8, 64, 100, "torch", {"A": "b"}, (8080,)),
        state_reason="because",
        labels={"team": "vision"},
        limits=Limits(1, SECOND, 2 * SECOND, 3 * SECOND),
        priority=99,
        provider="local",
        region="here",
        simulated=True,
        price_per_hour_micro=5,
        running_at=NOW,
        has_disk=True,
    )

    assert await store.write(lambda tx: tx.instances.save(changed)) is True

    assert await store.read(lambda tx: tx.instances.get(instance.id)) == changed


async def test_filters_follow_what_was_saved(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id, labels={"team": "vision"}, gpus={"nvidia-h100": 1})
    await stored(store, instance)
    moved = replace(instance, labels={"team": "robots"}, spec=InstanceSpec((GpuRequest("nvidia-l4"),)))

    await store.write(lambda tx: tx.instances.save(moved))

    for wanted, found in (
        (InstanceFilter(labels={"team": "vision"}), []),
        (InstanceFilter(gpu_type="nvidia-h100"), []),
        (InstanceFilter(labels={"team": "robots"}), [moved]),
        (InstanceFilter(gpu_type="nvidia-l4"), [moved]),
    ):
        page = await store.read(lambda tx, wanted=wanted: tx.instances.page(account.id, wanted, limit=9, cursor=None))
        assert page.items == found


async def test_saving_what_was_never_added_changes_nothing(store: SqlStore, account: Account) -> None:
    assert await store.write(lambda tx: tx.instances.save(an_instance(account.id))) is False

    assert await store.read(lambda tx: tx.instances.counts()) == {}


async def test_the_line_is_ordered_by_priority_then_age(store: SqlStore, account: Account) -> None:
    young = an_instance(account.id)
    old = an_instance(account.id, age=SECOND)
    urgent = an_instance(account.id, priority=51)
    await stored(store, young, old, urgent, an_instance(account.id, S.RUNNING))

    assert await store.read(lambda tx: tx.instances.line()) == [urgent, old, young]


async def test_the_line_for_some_gpus_is_everybody_who_wants_any_of_them(store: SqlStore, account: Account) -> None:
    one = an_instance(account.id, gpus={"nvidia-t4": 1})
    both = an_instance(account.id, gpus={"nvidia-t4": 1, "nvidia-rtx-4090": 1}, age=SECOND)
    await stored(store, one, both, an_instance(account.id), an_instance(account.id, S.RUNNING, gpus={"nvidia-t4": 1}))

    line = await store.read(lambda tx: tx.instances.line({"nvidia-t4", "nvidia-rtx-4090"}))

    assert line == [both, one]


async def test_in_state_crosses_accounts_oldest_first(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    young = an_instance(account.id, S.RUNNING)
    old = an_instance(other.id, S.STOPPED, age=SECOND)
    await stored(store, young, old, an_instance(account.id))

    assert await store.read(lambda tx: tx.instances.in_state(S.RUNNING, S.STOPPED)) == [old, young]
    assert await store.read(lambda tx: tx.instances.in_state()) == []


async def test_counts_are_per_state_over_all_accounts(store: SqlStore, account: Account) -> None:
    other = await settled(store)
    await stored(store, an_instance(account.id), an_instance(other.id), an_instance(account.id, S.DELETED))

    assert await store.read(lambda tx: tx.instances.counts()) == {S.WAITING: 2, S.DELETED: 1}


async def test_an_instance_without_its_account_is_refused(store: SqlStore) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        await stored(store, an_instance(an_account().id))

    assert await store.read(lambda tx: tx.instances.counts()) == {}


# Waking and claims


async def test_due_are_those_whose_time_has_come_the_longest_overdue_first(store: SqlStore, account: Account) -> None:
    first, second, later, never = (an_instance(account.id) for _ in range(4))
    await stored(store, second, wake_at=NOW)
    await stored(store, first, wake_at=NOW - SECOND)
    await stored(store, later, wake_at=NOW + SECOND)
    await stored(store, never, wake_at=None)

    assert await store.read(lambda tx: tx.instances.due(NOW, limit=9)) == [first.id, second.id]
    assert await store.read(lambda tx: tx.instances.due(NOW, limit=1)) == [first.id]
    assert await store.read(lambda tx: tx.instances.next_wake()) == NOW - SECOND


async def test_wake_sets_the_time_and_none_means_never(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)

    await store.write(lambda tx: tx.instances.wake(instance.id, NOW + SECOND))
    assert await store.read(lambda tx: tx.instances.next_wake()) == NOW + SECOND

    await store.write(lambda tx: tx.instances.wake(instance.id, None))
    assert await store.read(lambda tx: tx.instances.next_wake()) is None
    assert await store.read(lambda tx: tx.instances.due(NOW + timedelta(days=999), limit=9)) == []


async def test_one_claim_at_a_time_and_its_token_grows(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)

    def take(holder: str, at: timedelta = timedelta()):
        return lambda tx: tx.instances.claim(instance.id, holder, now=NOW + at, until=NOW + at + 10 * SECOND)

    first = await store.write(take("one"))
    refused = await store.write(take("two"))
    again = await store.write(take("one"))
    after_expiry = await store.write(take("two", 10 * SECOND))

    assert first is not None
    assert (first.instance_id, first.holder, first.until) == (instance.id, "one", NOW + 10 * SECOND)
    assert refused is None
    assert again is None
    assert after_expiry is not None
    assert after_expiry.token > first.token


async def test_what_is_claimed_is_not_due_before_the_claim_ends(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)

    await store.write(lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW + 10 * SECOND))
    await store.write(lambda tx: tx.instances.wake(instance.id, NOW))

    assert await store.read(lambda tx: tx.instances.due(NOW + 9 * SECOND, limit=9)) == []
    assert await store.read(lambda tx: tx.instances.next_wake()) == NOW + 10 * SECOND
    assert await store.read(lambda tx: tx.instances.due(NOW + 10 * SECOND, limit=9)) == [instance.id]


async def test_a_claim_given_back_lets_others_at_it_when_it_is_time(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)
    claim = await store.write(lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW + 10 * SECOND))
    await store.write(lambda tx: tx.instances.wake(instance.id, NOW + SECOND))

    await store.write(lambda tx: tx.instances.unclaim(claim))

    assert await store.read(lambda tx: tx.instances.due(NOW, limit=9)) == []
    assert await store.read(lambda tx: tx.instances.due(NOW + SECOND, limit=9)) == [instance.id]
    assert await store.write(lambda tx: tx.instances.claim(instance.id, "two", now=NOW, until=NOW + SECOND))


async def test_a_server_that_starts_again_gives_back_what_it_had_and_nothing_else(
    store: SqlStore, account: Account
) -> None:
    mine, others = an_instance(account.id), an_instance(account.id)
    for instance, holder in ((mine, "one"), (others, "two")):
        await stored(store, instance, wake_at=NOW)
        await store.write(
            lambda tx, i=instance, h=holder: tx.instances.claim(i.id, h, now=NOW, until=NOW + 60 * SECOND)
        )

    given_back = await store.write(lambda tx: tx.instances.disown("one"))

    assert given_back == 1
    assert await store.read(lambda tx: tx.instances.due(NOW, limit=9)) == [mine.id]


async def test_a_claim_on_what_sleeps_does_not_wake_it(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=None)

    await store.write(lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW + SECOND))

    assert await store.read(lambda tx: tx.instances.next_wake()) is None


async def test_a_late_holder_can_neither_save_nor_unclaim(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)
    late = await store.write(lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW + SECOND))
    held = await store.write(
        lambda tx: tx.instances.claim(instance.id, "one", now=NOW + SECOND, until=NOW + 9 * SECOND)
    )
    running = replace(instance, state=S.RUNNING)

    assert await store.write(lambda tx: tx.instances.save(running, claim=late)) is False
    await store.write(lambda tx: tx.instances.unclaim(late))

    assert await store.read(lambda tx: tx.instances.get(instance.id)) == instance
    assert await store.write(lambda tx: tx.instances.save(running, claim=held)) is True
    assert await store.read(lambda tx: tx.instances.get(instance.id)) == running


async def test_a_claim_given_back_saves_nothing_any_more(store: SqlStore, account: Account) -> None:
    instance = an_instance(account.id)
    await stored(store, instance, wake_at=NOW)
    claim = await store.write(lambda tx: tx.instances.claim(instance.id, "one", now=NOW, until=NOW + SECOND))
    await store.write(lambda tx: tx.instances.unclaim(claim))

    assert await store.write(lambda tx: tx.instances.save(replace(instance, name="x"), claim=claim)) is False


async def test_an_instance_that_is_not_there_cannot_be_claimed(store: SqlStore) -> None:
    nobody = InstanceId("inst_none")

    assert await store.write(lambda tx: tx.instances.claim(nobody, "one", now=NOW, until=NOW + SECOND)) is None
