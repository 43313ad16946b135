"""Who gets which GPUs: what holds for every line, and the reasons people are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.instances import GpuRequest, InstanceSpec, Placement
from gpuyard.domain.offers import Offer, Pool, cheapest_first, free_counts
from gpuyard.domain.placing import HOPELESS, WaitCode, Waiting, grantable, place
from tests.domain.builders import an_offer, in_line

GPUS = ("rtx", "tesla", "ampere")
PROVIDERS = ("local", "cloud")
REGIONS = ("east", "west")

pools = st.builds(Pool, st.sampled_from(PROVIDERS), st.sampled_from(REGIONS), st.sampled_from(GPUS))


@st.composite
def yards(draw: st.DrawFn) -> tuple[list[Offer], dict[Pool, int]]:
    """Offers of different pools, and what of them is promised already."""
    chosen = draw(st.lists(pools, unique=True, max_size=8))
    offers = [
        an_offer(
            pool.gpu_type,
            provider=pool.provider,
            region=pool.region,
            price=draw(st.integers(1, 5)) * 100,
            total=draw(st.one_of(st.none(), st.integers(0, 4))),
            available=draw(st.integers(0, 4)),
        )
        for pool in chosen
    ]
    in_use = {offer.pool: draw(st.integers(0, 4)) for offer in offers if draw(st.booleans())}
    return offers, in_use


placements = st.builds(
    Placement,
    providers=st.sampled_from([(), ("local",), ("cloud",)]),
    regions=st.sampled_from([(), ("east",)]),
    max_price_per_hour_micro=st.one_of(st.none(), st.integers(100, 1500)),
)
demands = st.lists(st.tuples(st.sampled_from(GPUS), st.integers(1, 3)), min_size=1, max_size=2)
pins = st.one_of(st.none(), st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(REGIONS)))


@st.composite
def lines(draw: st.DrawFn) -> list[Waiting]:
    return [
        in_line(f"i-{n}", *draw(demands), placement=draw(placements), pinned=draw(pins))
        for n in range(draw(st.integers(0, 8)))
    ]


def could_use(entry: Waiting, offers: Sequence[Offer], free: Mapping[Pool, int]) -> list[Mapping[Pool, int]]:
    """Every set of pools this entry could be served from with `free`, found the slow and obvious way."""
    demand = entry.spec.demand()
    by_site: dict[tuple[str, str], dict[str, Offer]] = {}
    for offer in offers:
        by_site.setdefault((offer.provider, offer.region), {})[offer.gpu_type] = offer
    ways: list[Mapping[Pool, int]] = []
    for where, site in by_site.items():
        wanted = entry.placement
        if (
            all(gpu in site and free[site[gpu].pool] >= count for gpu, count in demand.items())
            and all(site[gpu].total is None or count <= (site[gpu].total or 0) for gpu, count in demand.items())
            and (not wanted.providers or where[0] in wanted.providers)
            and (not wanted.regions or where[1] in wanted.regions)
            and entry.pinned in (None, where)
            and (
                wanted.max_price_per_hour_micro is None
                or sum(site[gpu].price_per_hour_micro * count for gpu, count in demand.items())
                <= wanted.max_price_per_hour_micro
            )
        ):
            ways.append({site[gpu].pool: count for gpu, count in demand.items()})
    return ways


@given(yards(), lines())
def test_no_pool_is_ever_promised_beyond_what_is_free(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard

    placed = place(line, offers, in_use).placed

    promised: Counter[Pool] = Counter()
    for one in placed:
        promised.update(one.pools)
    free = free_counts(offers, in_use)
    assert all(count <= free[pool] for pool, count in promised.items())


@given(yards(), lines())
def test_everyone_is_placed_or_told_why_not_and_never_both(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    result = place(line, *yard)

    placed = [one.instance_id for one in result.placed]
    assert sorted([*placed, *result.reasons]) == sorted(entry.instance_id for entry in line)
    assert all(reason.text for reason in result.reasons.values())


@given(yards(), lines())
def test_everyone_gets_exactly_what_they_asked_for_where_they_allowed_it(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard
    by_id = {entry.instance_id: entry for entry in line}

    placed = place(line, offers, in_use).placed

    for one in placed:
        assert dict(one.pools) in could_use(by_id[one.instance_id], offers, free_counts(offers, in_use))


@given(yards(), lines())
def test_nobody_behind_takes_what_somebody_passed_over_ahead_could_use(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard
    result = place(line, offers, in_use)
    everything = {offer.pool: 10**6 for offer in offers}
    order = [entry.instance_id for entry in line]

    for one in result.placed:
        ahead = [entry for entry in line[: order.index(one.instance_id)] if entry.instance_id in result.reasons]
        for entry in ahead:
            usable = {pool for way in could_use(entry, offers, everything) for pool in way}
            assert usable.isdisjoint(one.pools), f"{one.instance_id} overtook {entry.instance_id}"


@given(yards(), lines())
def test_nobody_waits_for_somebody_ahead_who_could_not_use_the_same(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard
    result = place(line, offers, in_use)
    everything = {offer.pool: 10**6 for offer in offers}

    def usable(entry: Waiting) -> set[Pool]:
        return {pool for way in could_use(entry, offers, everything) for pool in way}

    for position, entry in enumerate(line):
        reason = result.reasons.get(entry.instance_id)
        if reason is not None and reason.code is WaitCode.BEHIND_OTHERS:
            passed = [other for other in line[:position] if other.instance_id in result.reasons]
            assert any(usable(other) & usable(entry) for other in passed)


@given(yards(), lines())
def test_the_first_in_line_is_served_whenever_it_can_be(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard
    free = free_counts(offers, in_use)

    result = place(line[:1], offers, in_use)

    assert bool(result.placed) == any(could_use(entry, offers, free) for entry in line[:1])


@given(yards(), lines())
def test_planning_the_same_snapshot_twice_gives_the_same_answer(
    yard: tuple[list[Offer], dict[Pool, int]], line: list[Waiting]
) -> None:
    offers, in_use = yard

    assert place(line, offers, in_use) == place(line, list(reversed(offers)), in_use)


def test_ten_thousand_in_line_for_a_hundred_gpus_leave_nobody_without_an_answer() -> None:
    offers = [an_offer(gpu, region=region, total=25) for gpu in ("rtx", "tesla") for region in ("east", "west")]
    line = [in_line(f"i-{n}", ("rtx" if n % 2 else "tesla", 1)) for n in range(10_000)]

    result = place(line, offers, {})

    assert {one.instance_id for one in result.placed} == {entry.instance_id for entry in line[:100]}
    assert len(result.reasons) == 9_900


def test_the_cheapest_place_that_fits_is_taken() -> None:
    offers = [an_offer(region="dear", price=300), an_offer(region="cheap", price=100)]

    placed = place([in_line("i-1")], offers, {}).placed

    assert [(one.region, one.price_per_hour_micro) for one in placed] == [("cheap", 100)]


def test_a_real_gpu_goes_before_a_simulated_one_of_the_same_price() -> None:
    offers = [an_offer(region="a", simulated=True), an_offer(region="b")]

    assert [offer.region for offer in cheapest_first(offers)] == ["b", "a"]


def test_several_types_in_one_instance_come_from_one_place_and_cost_their_sum() -> None:
    offers = [
        an_offer("rtx", region="east", price=100, total=2),
        an_offer("tesla", region="east", price=50),
        an_offer("tesla", region="west", price=10),
    ]

    (placed,) = place([in_line("i-1", ("rtx", 2), ("tesla", 1))], offers, {}).placed

    assert (placed.region, placed.price_per_hour_micro) == ("east", 250)


def test_a_stopped_instance_starts_only_where_its_disk_is() -> None:
    offers = [an_offer(region="east", total=1), an_offer(region="west", total=1)]
    full_at_home = {offers[0].pool: 1}

    result = place([in_line("i-1", pinned=("local", "east"))], offers, full_at_home)

    assert result.reasons[InstanceId("i-1")].code is WaitCode.NO_CAPACITY


def test_a_small_one_may_pass_a_big_one_that_waits_for_other_gpus() -> None:
    offers = [an_offer("rtx"), an_offer("tesla", total=1)]
    busy = {offers[1].pool: 1}

    result = place([in_line("big", ("tesla", 1)), in_line("small", ("rtx", 1))], offers, busy)

    assert [one.instance_id for one in result.placed] == ["small"]


def test_one_that_can_never_be_served_keeps_nothing_from_those_behind() -> None:
    offers = [an_offer(total=2)]

    result = place([in_line("dreamer", ("rtx", 3)), in_line("small")], offers, {})

    assert [one.instance_id for one in result.placed] == ["small"]
    assert result.reasons[InstanceId("dreamer")].code in HOPELESS


def test_who_cannot_pay_keeps_nothing_from_those_behind() -> None:
    poor, rich = (replace(in_line(who), payer=AccountId(who)) for who in ("poor", "rich"))
    offers = [an_offer(total=1, price=100)]

    result = place([poor, rich], offers, {}, {AccountId("poor"): 99, AccountId("rich"): 100})

    assert [one.instance_id for one in result.placed] == ["rich"]
    assert result.reasons[InstanceId("poor")].code is WaitCode.BALANCE


def test_what_an_account_sets_aside_for_one_it_cannot_set_aside_for_the_next() -> None:
    line = [replace(in_line(f"i-{n}"), payer=AccountId("a")) for n in range(3)]

    result = place(line, [an_offer(total=3, price=100)], {}, {AccountId("a"): 250})

    assert [one.instance_id for one in result.placed] == ["i-0", "i-1"]


def test_a_full_pool_gives_nothing_now_and_is_still_worth_waiting_for() -> None:
    result = place([in_line("i")], [replace(an_offer(total=2), full=True)], {})

    assert result.reasons[InstanceId("i")].code is WaitCode.NO_CAPACITY


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (in_line("i", ("unheard-of", 1)), WaitCode.NEVER),
        (in_line("i", placement=Placement(providers=("cloud",))), WaitCode.PLACEMENT),
        (in_line("i", placement=Placement(regions=("moon",))), WaitCode.PLACEMENT),
        (in_line("i", pinned=("local", "moon")), WaitCode.PLACEMENT),
        (in_line("i", ("rtx", 5)), WaitCode.TOO_LARGE),
        (in_line("i", vcpus=64), WaitCode.TOO_LARGE),
        (in_line("i", image="cuda"), WaitCode.UNKNOWN_IMAGE),
        (in_line("i", placement=Placement(max_price_per_hour_micro=99)), WaitCode.PRICE),
        (in_line("i", ("rtx", 2)), WaitCode.NO_CAPACITY),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_who_waits_is_told_what_for(entry: Waiting, code: WaitCode) -> None:
    offers = [an_offer(total=2, vcpus_max=32, images=frozenset({"python"}))]
    one_busy = {offers[0].pool: 1}

    result = place([entry], offers, one_busy)

    assert result.reasons[entry.instance_id].code is code


def test_one_behind_a_passed_over_one_is_told_so() -> None:
    offers = [an_offer(total=2)]
    one_busy = {offers[0].pool: 1}

    result = place([in_line("first", ("rtx", 2)), in_line("second")], offers, one_busy)

    assert result.reasons[InstanceId("second")].code is WaitCode.BEHIND_OTHERS


def test_a_yards_own_gpus_are_counted_by_us_and_a_clouds_by_the_cloud() -> None:
    own = an_offer(total=4, available=4)
    cloud = an_offer(provider="cloud", total=None, available=7)

    free = free_counts([own, cloud], {own.pool: 3, cloud.pool: 5})

    assert free == {own.pool: 1, cloud.pool: 7}


def test_partial_takes_the_most_that_one_place_can_give() -> None:
    offers = [an_offer("rtx", region="east", total=3), an_offer("rtx", region="west", total=2)]
    spec = InstanceSpec((GpuRequest("rtx", 8),))

    granted = grantable(spec, Placement(), offers, {offers[0].pool: 2})

    assert granted == (GpuRequest("rtx", 2),)


def test_partial_of_nothing_is_nothing() -> None:
    offers = [an_offer("rtx", total=1)]

    assert grantable(InstanceSpec((GpuRequest("tesla"),)), Placement(), offers, {}) == ()


@given(yards(), demands, placements)
def test_what_partial_grants_could_be_placed_at_once_if_its_price_is_right(
    yard: tuple[list[Offer], dict[Pool, int]], asked: list[tuple[str, int]], placement: Placement
) -> None:
    offers, in_use = yard
    spec = InstanceSpec(tuple(GpuRequest(gpu, count) for gpu, count in asked))
    anywhere = Placement(placement.providers, placement.regions)

    granted = grantable(spec, anywhere, offers, in_use)

    if granted:
        entry = Waiting(InstanceId("i-1"), InstanceSpec(granted), anywhere)
        assert place([entry], offers, in_use).placed
