"""`/keys`: made once, shown once, revoked at once."""

from __future__ import annotations

from fastapi import APIRouter

from gpuyard.api.asking import Asked
from gpuyard.api.native import orders, views
from gpuyard.domain.errors import NotFound
from gpuyard.services import keys
from gpuyard.wire.accounts import CreateKey, KeyMade, KeyView
from gpuyard.wire.base import Page

router = APIRouter(prefix="/keys", tags=["keys"])


@router.post("", status_code=201)
async def create(ask: Asked, body: CreateKey) -> KeyMade:
    """The secret is in this answer and nowhere else, ever."""
    order = keys.KeyOrder(
        name=body.name,
        scopes=None if body.scopes is None else frozenset(body.scopes),
        member_id=body.member_id,
        instance=body.instance,
        expires_in=orders.seconds(body.expires_in_seconds),
    )
    key, secret = await keys.create(ask.yard, ask.caller, order)
    return KeyMade(key=views.key(key), secret=secret)


@router.get("")
async def page(ask: Asked) -> Page[KeyView]:
    """All of the account for its owners, one's own for others; revoked ones included."""
    return Page[KeyView](items=[views.key(it) for it in await keys.of_account(ask.yard, ask.caller)])


@router.get("/{key_id}")
async def get(ask: Asked, key_id: str) -> KeyView:
    """One key, without its secret."""
    for it in await keys.of_account(ask.yard, ask.caller):
        if it.id == key_id:
            return views.key(it)
    raise NotFound(f"there is no key {key_id!r}", hint="`gpuyard keys ls` lists yours")


@router.delete("/{key_id}")
async def revoke(ask: Asked, key_id: str) -> KeyView:
    """Refused from now on. Of a revoked one: no effect."""
    return views.key(await keys.revoke(ask.yard, ask.caller, key_id))
