"""Accounts, members, keys and money over HTTP."""

from __future__ import annotations

from gpuyard.api.limits import Buckets
from tests.api.conftest import RTX, Api


async def test_me_says_whose_key_it_is_and_what_it_may_do(api: Api) -> None:
    told = (await api.owner.get("/me")).json()

    assert (told["account"]["operates_yard"], told["member"]["role"]) == (True, "owner")
    assert told["scopes"] == ["read", "write", "run", "keys", "members", "yard"]
    assert told["key"]["hint"].startswith("sk_compute_")


async def test_a_keys_secret_is_shown_once_and_never_again(api: Api) -> None:
    made = (await api.owner.post("/keys", json={"name": "ci", "scopes": ["read"]})).json()

    listed = await api.owner.get("/keys")

    assert made["secret"].startswith("sk_compute_")
    assert made["secret"] not in listed.text
    assert [key["scopes"] for key in listed.json()["items"] if key["name"] == "ci"] == [["read"]]


async def test_an_instances_key_says_so(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [RTX], "name": "a"})

    made = (await api.owner.post("/keys", json={"instance": "a"})).json()

    assert made["secret"].startswith("sk_live_")
    assert made["key"]["scopes"] == ["read", "run"]


async def test_a_key_expires(api: Api) -> None:
    key = await api.key(api.world.owner_key, expires_in_seconds=60)
    client = api.client(key)

    before = (await client.get("/me")).status_code
    api.world.clock.forward(seconds=61)
    after = (await client.get("/me")).status_code

    assert (before, after) == (200, 401)


async def test_an_account_keeps_at_least_one_owner(api: Api) -> None:
    me = (await api.owner.get("/me")).json()

    reply = await api.owner.delete(f"/members/{me['member']['id']}")

    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "illegal_state")


async def test_credit_is_added_once_for_each_idempotency_key(api: Api) -> None:
    await api.another_account("poor")
    account = (await api.owner.get("/accounts")).json()["items"][-1]
    address, body = f"/accounts/{account['id']}/credit", {"amount_micro": 5_000_000, "reason": "welcome"}

    for key in ("k1", "k1", "k2"):
        reply = await api.owner.post(address, json=body, headers={"Idempotency-Key": key})

    assert reply.json()["balance_micro"] == 10_000_000


async def test_who_cannot_pay_the_hold_gets_nothing(api: Api) -> None:
    made = (await api.owner.post("/accounts", json={"name": "poor", "credit_micro": 0})).json()

    reply = await api.client(made["owner_key"]).post("/instances", json={"gpus": [RTX]})

    assert (reply.status_code, reply.json()["error"]["code"]) == (402, "insufficient_balance")


async def test_usage_adds_up_to_what_the_instances_cost(api: Api) -> None:
    made = await api.world.running(name="a")
    api.world.clock.forward(hours=2)

    used = (await api.owner.get("/usage")).json()
    balance = (await api.owner.get("/balance")).json()

    assert used["cost_micro"] == 2 * (made.price_per_hour_micro or 0)
    assert [(it["name"], it["seconds"]) for it in used["instances"]] == [("a", 7200)]
    assert balance["running_per_hour_micro"] == made.price_per_hour_micro


async def test_offers_are_cheapest_first_and_count_what_is_free(api: Api) -> None:
    await api.owner.post("/instances", json={"gpus": [RTX]})

    offers = (await api.owner.get("/offers")).json()["items"]
    two = (await api.owner.get("/offers", params={"gpu": "RTX 3090", "count": 2})).json()["items"]

    prices = [offer["price_per_hour_micro"] for offer in offers]
    assert prices == sorted(prices)
    assert [(o["available"], o["total"]) for o in offers if o["gpu_type"] == "nvidia-rtx-3090"] == [(1, 2)]
    assert two == []


async def test_the_catalogue_and_the_providers_can_be_looked_at(api: Api) -> None:
    gpus = (await api.owner.get("/gpus")).json()["items"]
    providers = (await api.owner.get("/providers")).json()["items"]

    assert "nvidia-h100" in {gpu["type"] for gpu in gpus}
    assert [(it["name"], it["healthy"], it["gpus_total"]) for it in providers] == [("fake", True, 3)]


async def test_events_go_on_from_where_a_reader_stopped(api: Api) -> None:
    await api.world.running(name="a")
    first = (await api.owner.get("/events", params={"limit": 1})).json()

    rest = (await api.owner.get("/events", params={"after": first["next_cursor"]})).json()["items"]

    assert rest[0]["seq"] > first["items"][0]["seq"]
    assert [it["kind"] for it in rest][-1] == "instance.running"


async def test_passwords_cannot_be_tried_without_end(api: Api) -> None:
    api.logins = Buckets(0.01, 2)
    browser = api.client(root="")

    statuses = [
        (await browser.post("/i/00000000/_gpuyard/login", data={"password": str(n)})).status_code for n in range(4)
    ]

    assert statuses == [401, 401, 429, 429]
