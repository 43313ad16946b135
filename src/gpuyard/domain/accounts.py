"""Who owns things and pays, who may act for them, and with which key."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gpuyard.domain.errors import Forbidden
from gpuyard.domain.ids import AccountId, InstanceId, KeyId, MemberId


class Role(StrEnum):
    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


class Scope(StrEnum):
    """What a key may do. A key never has more than its member's role allows."""

    READ = "read"
    """See instances, executions, offers, usage and events of the account."""
    WRITE = "write"
    """Create, change, stop and delete instances."""
    RUN = "run"
    """Run code, move files and open terminals and applications in instances."""
    KEYS = "keys"
    """Make and revoke keys."""
    MEMBERS = "members"
    """Invite and remove members of the account."""
    YARD = "yard"
    """See and change every account: the yard's operator."""


ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.OWNER: frozenset({Scope.READ, Scope.WRITE, Scope.RUN, Scope.KEYS, Scope.MEMBERS}),
    Role.MEMBER: frozenset({Scope.READ, Scope.WRITE, Scope.RUN, Scope.KEYS}),
    Role.VIEWER: frozenset({Scope.READ}),
}

INSTANCE_KEY_SCOPES = frozenset({Scope.READ, Scope.RUN})


@dataclass(frozen=True, slots=True)
class Account:
    id: AccountId
    name: str
    created_at: datetime
    operates_yard: bool = False
    """True for the account the first `gpuyard up` makes: its owners may do everything in the yard."""
    credit_micro: int | None = None
    """How far below zero the balance may go; None for no limit (the yard's own people)."""


@dataclass(frozen=True, slots=True)
class Member:
    id: MemberId
    account_id: AccountId
    name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """A bearer key as we keep it: its hash, never the key."""

    id: KeyId
    account_id: AccountId
    member_id: MemberId
    name: str
    digest: str
    hint: str
    """The first characters, enough to recognise the key and too few to use it."""
    scopes: frozenset[Scope]
    created_at: datetime
    instance_id: InstanceId | None = None
    """Set on an instance key (`sk_live_…`): it opens this one instance and nothing else."""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking: decided once per request, passed to every use case."""

    account_id: AccountId
    member_id: MemberId
    key_id: KeyId
    scopes: frozenset[Scope]
    instance_id: InstanceId | None = None

    def must(self, scope: Scope) -> None:
        """Raises Forbidden when the key lacks `scope`."""
        if scope not in self.scopes:
            raise Forbidden(
                f"this key may not do that: it lacks the scope {scope.value!r}",
                hint="make a key with that scope: `gpuyard keys create --scope " + scope.value + "`",
                details={"scope": scope.value},
            )

    def may_see(self, instance_id: InstanceId) -> bool:
        """An instance key sees its own instance alone; account keys see the whole account."""
        return self.instance_id is None or self.instance_id == instance_id


def new_account_secret() -> str:
    return f"sk_compute_{secrets.token_urlsafe(32)}"


def new_instance_secret() -> str:
    return f"sk_live_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """Keys carry 256 random bits, so one fast hash is enough: there is nothing to guess by dictionary."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hint_of(secret: str) -> str:
    """`sk_compute_8G3a…`: the kind of key and its first four characters."""
    return f"{secret[: secret.index('_', 3) + 5]}…"
