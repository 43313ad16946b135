"""Who may open the applications of an instance in a browser, which has no key to show."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import NotFound, Unauthenticated
from gpuyard.domain.ids import looks_like_short_id
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.store import Tx
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard

TICKET_LASTS = timedelta(minutes=2)
VISIT_LASTS = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed right to enter one instance until `until`."""

    short_id: str
    token: str
    until: datetime


async def ticket(yard: Yard, caller: Caller, ref: str) -> Visit:
    """Opens the instance's applications once, within two minutes. Raises NotFound, Forbidden."""
    caller.must(Scope.RUN)
    instance = await yard.store.read(lambda tx: find(tx, caller, ref))
    until = yard.clock.now() + TICKET_LASTS
    nonce = secrets.token_urlsafe(16)
    token = yard.secret.sign_visit(f"ticket {nonce}", instance.id, until)
    return Visit(instance.short_id, f"{nonce}.{token}", until)


async def instance_behind(yard: Yard, short_id: str) -> Instance | None:
    """Whosever it is: the caller of this has yet to say why it may enter. None for what is not there any more."""
    if not looks_like_short_id(short_id):
        return None
    instance = await yard.store.read(lambda tx: tx.instances.by_short_id(short_id))
    return None if instance is None or instance.state is InstanceState.DELETED else instance


async def by_ticket(yard: Yard, instance: Instance, shown: str) -> Visit:
    """Raises Unauthenticated for a ticket that is wrong, late or used, at whichever server and before whichever restart."""
    nonce, _, token = shown.partition(".")
    now = yard.clock.now()

    def first_use(tx: Tx) -> bool:
        key = f"ticket:{nonce}"
        if tx.idempotency.get(instance.account_id, key) is not None:
            return False
        tx.idempotency.put(instance.account_id, key, digest="", made=instance.id, at=now)
        return True

    good = yard.secret.check_visit(f"ticket {nonce}", instance.id, token, now)
    if not good or not await yard.store.write(first_use):
        raise Unauthenticated("this link was used already or is too old", hint="ask for a new one: `gpuyard open`")
    return _visit(yard, instance)


def by_password(yard: Yard, instance: Instance | None, typed: str) -> Visit:
    """Raises Unauthenticated, and takes as long for an instance that is not there as for a wrong password."""
    expected = yard.secret.app_password(instance.id) if instance is not None else secrets.token_urlsafe(12)
    same = hmac.compare_digest(typed.strip().encode(), expected.encode())
    if instance is None or not same:
        raise Unauthenticated("this is not the password of this instance", hint="`gpuyard instances show` shows it")
    return _visit(yard, instance)


def by_caller(instance: Instance, caller: Caller) -> None:
    """Raises NotFound for somebody else's instance, Forbidden for a key that may not run anything."""
    if instance.account_id != caller.account_id or not caller.may_see(instance.id):
        raise NotFound(f"there is no instance {instance.short_id!r}")
    caller.must(Scope.RUN)


def has_visit(yard: Yard, instance: Instance, shown: str) -> bool:
    """Is this the token of a visit that was granted and still lasts?"""
    return yard.secret.check_visit("visit", instance.id, shown, yard.clock.now())


def _visit(yard: Yard, instance: Instance) -> Visit:
    until = yard.clock.now() + VISIT_LASTS
    return Visit(instance.short_id, yard.secret.sign_visit("visit", instance.id, until), until)
