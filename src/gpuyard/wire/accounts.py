"""Shapes of accounts, members, keys, and of the caller itself."""

from __future__ import annotations

from pydantic import Field

from gpuyard.domain.accounts import Role, Scope
from gpuyard.wire.base import Instant, Reply, Request
from gpuyard.wire.instances import Micro


class AccountView(Reply):
    id: str
    name: str
    created_at: Instant
    operates_yard: bool = False
    balance_micro: int = 0
    held_micro: int = 0
    credit_micro: int | None = None
    currency: str


class CreateAccount(Request):
    name: str = Field(min_length=1, max_length=100)
    owner_name: str = Field(default="owner", min_length=1, max_length=100)
    credit_micro: Micro | None = None


class ChangeAccount(Request):
    name: str | None = Field(default=None, min_length=1, max_length=100)
    credit_micro: Micro | None = None


class AccountMade(Reply):
    """The owner's key is shown this once."""

    account: AccountView
    owner_key: str = Field(repr=False)


class AddCredit(Request):
    amount_micro: int = Field(ge=-(10**15), le=10**15, description="Negative to correct.")
    reason: str = Field(default="", max_length=500)


class MemberView(Reply):
    id: str
    name: str
    role: Role
    created_at: Instant


class CreateMember(Request):
    name: str = Field(min_length=1, max_length=100)
    role: Role = Role.MEMBER


class ChangeMember(Request):
    name: str | None = Field(default=None, min_length=1, max_length=100)
    role: Role | None = None


class KeyView(Reply):
    id: str
    name: str
    hint: str
    scopes: list[Scope]
    member_id: str
    instance_id: str | None = None
    created_at: Instant
    expires_at: Instant | None = None
    last_used_at: Instant | None = None
    revoked_at: Instant | None = None


class CreateKey(Request):
    name: str = Field(default="", max_length=100)
    scopes: list[Scope] | None = Field(default=None, description="Null for all your role has.")
    member_id: str | None = Field(default=None, description="For another member; owners only.")
    instance: str | None = Field(default=None, description="Makes an instance key: `sk_live_…`.")
    expires_in_seconds: float | None = Field(default=None, gt=0, le=10 * 365 * 86400)


class KeyMade(Reply):
    """The key itself is shown this once."""

    key: KeyView
    secret: str = Field(repr=False)


class MeView(Reply):
    account: AccountView
    member: MemberView
    key: KeyView
    scopes: list[Scope]
    version: str
    currency: str
