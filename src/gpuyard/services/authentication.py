"""From a bearer key to a caller."""

from __future__ import annotations

from datetime import datetime, timedelta

from gpuyard.domain.accounts import INSTANCE_KEY_SCOPES, ROLE_SCOPES, Caller, Role, Scope, digest
from gpuyard.domain.errors import Unauthenticated
from gpuyard.ports.store import Tx
from gpuyard.services.yard import Yard

BELIEVED_FOR = timedelta(seconds=1)
"""How long another server of the same yard may still take a key that was just revoked here."""
MAX_KNOWN = 10_000


async def authenticate(yard: Yard, secret: str) -> Caller:
    """Raises Unauthenticated for a key that is unknown, revoked or expired, without saying which."""
    now = yard.clock.now()
    hashed = digest(secret)
    known = yard.known_keys.callers.get(hashed)
    if known is not None and now < known[1]:
        caller = known[0]
    else:
        found = await yard.store.read(lambda tx: _look_up(tx, hashed, now))
        if found is None:
            yard.known_keys.callers.pop(hashed, None)
            raise Unauthenticated(
                "this key is not valid", hint="check GPUYARD_API_KEY, or log in again: `gpuyard login`"
            )
        caller, expires_at = found
        if len(yard.known_keys.callers) >= MAX_KNOWN:
            yard.known_keys.callers.clear()
        until = now + BELIEVED_FOR
        yard.known_keys.callers[hashed] = (caller, min(until, expires_at) if expires_at else until)
    yard.known_keys.last_used[caller.key_id] = now
    return caller


def _look_up(tx: Tx, hashed: str, now: datetime) -> tuple[Caller, datetime | None] | None:
    key = tx.keys.by_digest(hashed)
    if key is None or not key.is_good(now):
        return None
    member = tx.members.get(key.account_id, key.member_id)
    account = tx.accounts.get(key.account_id)
    if member is None or account is None:
        return None
    scopes = key.scopes & scopes_of(member.role, operates_yard=account.operates_yard)
    if key.instance_id is not None:
        scopes &= INSTANCE_KEY_SCOPES
    return Caller(key.account_id, key.member_id, key.id, scopes, key.instance_id), key.expires_at


def scopes_of(role: Role, *, operates_yard: bool) -> frozenset[Scope]:
    """What a member may do at most. Only owners of the account that operates the yard may change other accounts."""
    operator = {Scope.YARD} if operates_yard and role is Role.OWNER else set()
    return ROLE_SCOPES[role] | operator
