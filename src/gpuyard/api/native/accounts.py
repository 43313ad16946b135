"""`/me`, `/accounts` and `/members`: who there is."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Response

from gpuyard._version import __version__
from gpuyard.api.asking import Ask, Asked
from gpuyard.api.native import views
from gpuyard.api.native.orders import IdempotencyKey
from gpuyard.services import accounts, money
from gpuyard.wire.accounts import (
    AccountMade,
    AccountView,
    AddCredit,
    ChangeAccount,
    ChangeMember,
    CreateAccount,
    CreateMember,
    MemberView,
    MeView,
)
from gpuyard.wire.base import Page

router = APIRouter(tags=["accounts"])


@router.get("/me")
async def me(ask: Asked) -> MeView:
    """Whose key this is and what it may do."""
    balance, member, key = await accounts.me(ask.yard, ask.caller)
    return MeView(
        account=views.account(ask, balance),
        member=views.member(member),
        key=views.key(key),
        scopes=views.in_order(ask.caller.scopes),
        version=__version__,
        currency=ask.yard.currency,
    )


@router.get("/accounts")
async def all_accounts(ask: Asked) -> Page[AccountView]:
    """Every account for the yard's operator, your own for everybody else."""
    found = await accounts.all_accounts(ask.yard, ask.for_account().caller)
    return Page[AccountView](items=[await _view(ask, it.id) for it in found])


@router.post("/accounts", status_code=201)
async def create(ask: Asked, body: CreateAccount) -> AccountMade:
    """A new account and its owner's key, shown this once. For the yard's operator."""
    made, owner_key = await accounts.create(ask.yard, ask.caller, body.name, body.owner_name, body.credit_micro)
    return AccountMade(account=await _view(ask, made.id), owner_key=owner_key)


@router.get("/accounts/{account_id}")
async def get(ask: Asked, account_id: str) -> AccountView:
    """One account, with its balance. Not yours is not found."""
    return await _view(ask.for_account(), account_id)


@router.patch("/accounts/{account_id}")
async def change(ask: Asked, account_id: str, body: ChangeAccount) -> AccountView:
    """Rename, or change the credit; `credit_micro: null` lifts its limit. For the yard's operator."""
    changed = await accounts.change(
        ask.yard,
        ask.caller,
        account_id,
        name=body.name,
        credit_micro=body.credit_micro,
        sets_credit="credit_micro" in body.model_fields_set,
    )
    return await _view(ask, changed.id)


@router.post("/accounts/{account_id}/credit")
async def credit(ask: Asked, account_id: str, body: AddCredit, idempotency_key: IdempotencyKey = None) -> AccountView:
    """Put money in; a negative amount corrects. Send an Idempotency-Key: money is added once for each."""
    key = idempotency_key or secrets.token_hex(16)
    balance = await money.credit(ask.yard, ask.caller, account_id, body.amount_micro, body.reason, key)
    return views.account(ask, balance)


@router.get("/members")
async def members(ask: Asked) -> Page[MemberView]:
    """The people of the account."""
    found = await accounts.members(ask.yard, ask.caller)
    return Page[MemberView](items=[views.member(it) for it in found])


@router.post("/members", status_code=201)
async def add_member(ask: Asked, body: CreateMember) -> MemberView:
    """A new member; `POST /keys` with its id makes the key to hand over."""
    return views.member(await accounts.add_member(ask.yard, ask.caller, body.name, body.role))


@router.patch("/members/{member_id}")
async def change_member(ask: Asked, member_id: str, body: ChangeMember) -> MemberView:
    """Rename a member, or give another role."""
    return views.member(await accounts.change_member(ask.yard, ask.caller, member_id, body.name, body.role))


@router.delete("/members/{member_id}", status_code=204)
async def remove_member(ask: Asked, member_id: str) -> Response:
    """Removes the member and revokes the member's keys."""
    await accounts.remove_member(ask.yard, ask.caller, member_id)
    return Response(status_code=204)


async def _view(ask: Ask, account_id: str) -> AccountView:
    return views.account(ask, await money.balance_of_account(ask.yard, ask.caller, account_id))
