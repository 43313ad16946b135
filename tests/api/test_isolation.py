"""What is not yours is not found, on every route there is; and a key does no more than it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest

from gpuyard.domain.executions import Execution, ExecutionKind, ExecutionState
from gpuyard.domain.ids import new_execution_id
from tests.api.conftest import Api
from tests.api.walking import Step, ask, steps

OPEN_TO_ALL = {"/healthz", "/readyz", "/metrics"}
FOR_OPERATORS = {"/yard/v1/accounts", "/yard/v1/accounts/{account_id}", "/yard/v1/accounts/{account_id}/credit"}
MAKES_ONES_OWN = {"/yard/v1/instances", "/yard/v1/keys", "/yard/v1/members", "/yard/v1/accounts"}
ABOUT_ONESELF = {
    "/yard/v1/me",
    "/yard/v1/balance",
    "/yard/v1/ledger",
    "/yard/v1/usage",
    "/yard/v1/offers",
    "/yard/v1/gpus",
    "/yard/v1/providers",
}


@dataclass
class Scene:
    """An account with one of everything."""

    api: Api
    walk: list[Step]
    values: Mapping[str, str]
    secrets: tuple[str, ...]
    """Texts that only this account may ever read."""

    @property
    def owner(self) -> str:
        return self.api.made_keys["mine"]

    def client(self, key: str) -> httpx.AsyncClient:
        return self.api.client(key, root="")


@pytest.fixture
async def scene(api: Api) -> Scene:
    mine = await api.another_account("mine")
    client = api.client(mine)
    made = (await client.post("/instances", json={"gpus": [], "name": "secret-name"})).json()
    me = (await client.get("/me")).json()
    execution = Execution(
        new_execution_id(),
        me["account"]["id"],
        made["id"],
        ExecutionKind.SHELL,
        ExecutionState.ACCEPTED,
        api.world.clock.now(),
        code="echo",
        name="secret-execution",
    )
    await api.world.store.write(lambda tx: tx.executions.add(execution))
    document = (await api.client().get("/openapi.json")).json()
    values = {
        "ref": made["id"],
        "execution_id": execution.id,
        "account_id": me["account"]["id"],
        "member_id": me["member"]["id"],
        "key_id": me["key"]["id"],
    }
    secrets = ("secret-name", made["id"], execution.id, *(v for k, v in values.items() if k.endswith("_id")))
    return Scene(api, list(steps(document)), values, secrets)


async def test_another_account_finds_nothing_on_any_route(scene: Scene) -> None:
    stranger = scene.client(await scene.api.another_account("stranger"))
    before = await _everything(scene)
    leaks = []

    for step in scene.walk:
        reply = await ask(stranger, step, scene.values)
        asked_for = [v for v in scene.values.values() if v in step.path(scene.values)]
        leaked = [text for text in scene.secrets if text in reply.text and text not in asked_for]
        good = reply.status_code == 404 if "{" in step.pattern else reply.status_code in (200, 201, 403)
        if step.pattern in FOR_OPERATORS and step.writes:
            good = reply.status_code in (403, 404)
        if leaked or not (good or step.pattern in OPEN_TO_ALL):
            leaks.append(f"{step}: {reply.status_code} {leaked} {reply.text[:120]}")

    assert leaks == []
    assert await _everything(scene) == before


async def test_every_way_to_name_an_instance_is_closed_to_strangers(scene: Scene) -> None:
    stranger = scene.client(await scene.api.another_account("stranger"))

    for ref in (scene.values["ref"], scene.values["ref"][5:13], "secret-name"):
        reply = await stranger.get(f"/yard/v1/instances/{ref}")

        assert reply.status_code == 404, ref


async def test_nobody_gets_in_without_a_key(scene: Scene) -> None:
    nobody = scene.api.client(root="")

    for step in scene.walk:
        if step.pattern not in OPEN_TO_ALL:
            reply = await ask(nobody, step, scene.values)

            assert reply.status_code == 401, step


async def test_a_viewer_may_write_on_no_route(scene: Scene) -> None:
    api = scene.api
    owner = scene.owner
    viewer = scene.client(await api.viewer(owner))
    before = await _everything(scene)

    for step in scene.walk:
        if step.writes:
            reply = await ask(viewer, step, scene.values)

            assert reply.status_code == 403, f"{step}: {reply.text}"
    assert await _everything(scene) == before


async def test_a_viewer_sees_neither_environment_nor_password(scene: Scene) -> None:
    viewer = scene.client(await scene.api.viewer(scene.owner))

    told = (await viewer.get(f"/yard/v1/instances/{scene.values['ref']}")).json()

    assert (told["app_password"], told["env"]) == (None, {})


async def test_an_instance_key_opens_its_instance_and_nothing_else(scene: Scene) -> None:
    owner = scene.owner
    other = (await scene.api.client(owner).post("/instances", json={"gpus": [], "name": "the-other"})).json()
    holder = scene.client(await scene.api.key(owner, instance="secret-name"))
    wrong = []

    for step in scene.walk:
        reply = await ask(holder, step, {**scene.values, "ref": other["id"]})
        if "{ref}" in step.pattern and reply.status_code not in (403, 404):
            wrong.append(f"{step}: {reply.status_code}")
        if other["id"] in reply.text and "{ref}" not in step.pattern:
            wrong.append(f"{step} tells of the other instance")

    assert wrong == []
    assert (await holder.get(f"/yard/v1/instances/{scene.values['ref']}")).status_code == 200
    for path in ("balance", "ledger", "accounts", "members", "keys"):
        assert (await holder.get(f"/yard/v1/{path}")).status_code == 403, path


async def test_a_revoked_key_is_refused_at_once(api: Api) -> None:
    key = await api.key(api.world.owner_key, name="short-lived")
    client = api.client(key)
    me = (await client.get("/me")).json()

    await api.owner.delete(f"/keys/{me['key']['id']}")

    assert (await client.get("/me")).status_code == 401


async def test_a_key_never_gives_more_than_it_has(api: Api) -> None:
    narrow = await api.key(api.world.owner_key, scopes=["read", "keys"])

    reply = await api.client(narrow).post("/keys", json={"scopes": ["write"]})

    assert (reply.status_code, reply.json()["error"]["field"]) == (403, "scopes")


async def test_the_walk_knows_every_route(scene: Scene) -> None:
    """A new route must be reachable by the walk: its body is in the table and its places have values."""
    unnamed = ABOUT_ONESELF | MAKES_ONES_OWN | OPEN_TO_ALL | {"/yard/v1/events"}

    assert {step.pattern for step in scene.walk if "{" not in step.pattern} == unnamed


async def _everything(scene: Scene) -> object:
    client = scene.client(scene.owner)
    paths = ("instances?state=all", "keys", "members", "accounts", f"instances/{scene.values['ref']}/executions")
    replies = [(await client.get(f"/yard/v1/{path}")).json()["items"] for path in paths]
    return [[{k: v for k, v in item.items() if k != "last_used_at"} for item in items] for items in replies]
