"""Instances over HTTP: ordered once, found again, changed, ended."""

from __future__ import annotations

from gpuyard.domain.instances import InstanceState
from tests.api.conftest import RTX, Api


async def test_an_order_is_answered_with_the_instance(api: Api) -> None:
    reply = await api.owner.post("/instances", json={"gpus": [RTX], "name": "trainer", "labels": {"team": "vision"}})

    told = reply.json()
    assert reply.status_code == 201
    assert (told["name"], told["state"], told["labels"]) == ("trainer", "requested", {"team": "vision"})
    assert told["gpus"] == [{"type": "nvidia-rtx-3090", "name": "NVIDIA GeForce RTX 3090", "memory_gb": 24, "count": 1}]
    assert told["simulated"] is True
    assert told["url_path"] == f"/i/{told['short_id']}/"
    assert told["created_at"].endswith("Z")


async def test_a_name_is_made_where_none_is_given(api: Api) -> None:
    told = (await api.owner.post("/instances", json={"gpus": [RTX]})).json()

    assert told["name"] == f"compute-gpu-{told['short_id']}"


async def test_the_same_order_under_one_idempotency_key_is_one_instance(api: Api) -> None:
    order, header = {"gpus": [RTX], "name": "once"}, {"Idempotency-Key": "k1"}

    first = await api.owner.post("/instances", json=order, headers=header)
    again = await api.owner.post("/instances", json=dict(reversed(order.items())), headers=header)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


async def test_another_order_under_the_same_idempotency_key_is_a_conflict(api: Api) -> None:
    header = {"Idempotency-Key": "k1"}
    await api.owner.post("/instances", json={"gpus": [RTX]}, headers=header)

    reply = await api.owner.post("/instances", json={"gpus": [RTX], "vcpus": 4}, headers=header)

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "idempotency_conflict")


async def test_a_name_that_is_taken_is_refused(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [RTX], "name": "a"})

    reply = await api.owner.post("/instances", json={"gpus": [RTX], "name": "a"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "name_taken")


async def test_no_capacity_names_what_is_missing_and_what_is_free(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [{**RTX, "count": 2}]})

    reply = await api.owner.post("/instances", json={"gpus": [RTX, {"type": "nvidia-rtx-4090"}]})

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (409, "no_capacity")
    assert error["details"]["unavailable"] == [{"type": "nvidia-rtx-3090", "asked": 1, "free": 0}]
    assert error["details"]["available"] == [{"type": "nvidia-rtx-4090", "asked": 1, "free": 1}]


async def test_who_waits_is_told_why_and_where_in_line(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [{**RTX, "count": 2}]})
    waiting = (await api.owner.post("/instances", json={"gpus": [RTX], "wait": True})).json()

    told = (await api.owner.get(f"/instances/{waiting['short_id']}/why")).json()

    assert (told["state"], told["line_position"], told["ahead"]) == ("waiting", 1, 0)
    assert "nvidia-rtx-3090" in told["reason"]


async def test_id_short_id_and_name_mean_the_same_instance(api: Api) -> None:
    made = (await api.owner.post("/instances", json={"gpus": [RTX], "name": "a"})).json()

    found = [(await api.owner.get(f"/instances/{ref}")).json()["id"] for ref in (made["id"], made["short_id"], "a")]

    assert found == [made["id"]] * 3


async def test_lists_are_filtered_by_every_condition_given(api: Api) -> None:
    for name, team in (("a", "vision"), ("b", "speech")):
        await api.owner.post("/instances", json={"gpus": [RTX], "name": name, "labels": {"team": team}})
        api.world.clock.forward(seconds=1)

    async def names(**query: str) -> list[str]:
        return [it["name"] for it in (await api.owner.get("/instances", params=query)).json()["items"]]

    assert await names(label="team=vision") == ["a"]
    assert await names(name="b") == ["b"]
    assert await names(gpu="RTX 3090", state="requested,waiting") == ["b", "a"]
    assert await names(state="running") == []
    assert await names(provider="elsewhere") == []


async def test_a_state_that_does_not_exist_is_named(api: Api) -> None:
    reply = await api.owner.get("/instances", params={"state": "runing"})

    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "state")


async def test_pages_follow_each_other_without_gap_or_repetition(api: Api) -> None:
    for _ in range(5):
        await api.owner.post("/instances", json={"gpus": []})
    names, cursor = [], None

    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.owner.get("/instances", params=params)).json()
        names += [it["name"] for it in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break

    assert len(names) == len(set(names)) == 5


async def test_a_cursor_that_is_not_ours_is_refused(api: Api) -> None:
    reply = await api.owner.get("/instances", params={"cursor": "bogus"})

    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_request")


async def test_only_the_limits_that_are_sent_change(api: Api) -> None:
    order = {"gpus": [RTX], "name": "a", "limits": {"max_cost_micro": 5, "max_duration_seconds": 60}}
    await api.owner.post("/instances", json=order)

    changed = (await api.owner.patch("/instances/a", json={"limits": {"max_cost_micro": None}, "name": "b"})).json()

    assert changed["name"] == "b"
    assert (changed["limits"]["max_cost_micro"], changed["limits"]["max_duration_seconds"]) == (None, 60)


async def test_an_instance_lives_its_whole_life_over_http(api: Api) -> None:
    made = await api.world.running(name="a")
    states = [(await api.owner.get("/instances/a")).json()["state"]]

    for verb in ("stop", "start"):
        states.append((await api.owner.post(f"/instances/a/{verb}")).json()["state"])
        states.append((await api.world.settled(made)).state)
    states.append((await api.owner.delete("/instances/a")).json()["state"])
    states.append((await api.world.settled(made)).state)

    assert states == ["running", "stopping", "stopped", "starting", "running", "deleting", "deleted"]
    assert (await api.owner.get(f"/instances/{made.id}")).json()["state"] == InstanceState.DELETED


async def test_what_cannot_be_done_now_says_what_can(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [RTX], "name": "a"})

    reply = await api.owner.post("/instances/a/start")

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "illegal_state")


async def test_events_of_an_instance_come_in_order(api: Api) -> None:
    made = await api.world.running(name="a")

    told = (await api.owner.get("/instances/a/events")).json()["items"]

    assert [it["kind"] for it in told][:2] == ["instance.created", "instance.requested"]
    assert told[-1]["kind"] == "instance.running"
    assert {it["subject"] for it in told} == {made.id}


async def test_usage_says_what_it_cost_and_where_the_time_went(api: Api) -> None:
    made = await api.world.running(name="a")
    api.world.clock.forward(hours=1)

    used = (await api.owner.get("/instances/a/usage")).json()

    assert used["cost_micro"] == made.price_per_hour_micro
    assert used["timings"]["run"] == 3600
