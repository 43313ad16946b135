# Made from `_async/` by scripts/generate_sync.py: change it there.
"""Accounts, their members and their keys."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from gpuyard import wire
from gpuyard.sdk._sync.pages import pages
from gpuyard.sdk.core import API, Call, json_call, new_idempotency_key, nothing, segment
from gpuyard.sdk.orders import Amount, Duration, given, micro, seconds, signed_micro

if TYPE_CHECKING:
    from gpuyard.sdk._sync.transport import Transport


class Accounts:
    """For the yard's operator."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, owner_name: str | None = None, credit: Amount | None = None) -> wire.AccountMade:
        """The new account, and its owner's key, which is shown this once. `credit` is how far below zero it may go."""
        body = given(name=name, owner_name=owner_name, credit_micro=micro(credit, "credit"))
        return self._transport.send(json_call("POST", f"{API}/accounts", wire.AccountMade.model_validate_json, body))

    def get(self, account_id: str) -> wire.AccountView:
        path = f"{API}/accounts/{segment(account_id)}"
        return self._transport.send(Call("GET", path, wire.AccountView.model_validate_json))

    def list(self) -> Generator[wire.AccountView, None]:
        return pages(self._transport, f"{API}/accounts", {}, wire.AccountView)

    def change(
        self,
        account_id: str,
        *,
        name: str | None = None,
        credit: Amount | None = None,
        unlimited_credit: bool = False,
    ) -> wire.AccountView:
        path = f"{API}/accounts/{segment(account_id)}"
        body = given(name=name, credit_micro=micro(credit, "credit"))
        if unlimited_credit:
            body["credit_micro"] = None
        return self._transport.send(json_call("PATCH", path, wire.AccountView.model_validate_json, body))

    def add_credit(self, account_id: str, amount: Amount, *, reason: str = "") -> wire.AccountView:
        """Put money in; a negative amount corrects. Asked again by itself when the answer gets lost, it counts once."""
        path = f"{API}/accounts/{segment(account_id)}/credit"
        body = given(amount_micro=signed_micro(amount, "amount"), reason=reason)
        key = new_idempotency_key()
        return self._transport.send(
            json_call("POST", path, wire.AccountView.model_validate_json, body, idempotency_key=key)
        )


class Members:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, role: str | None = None) -> wire.MemberView:
        body = given(name=name, role=role)
        return self._transport.send(json_call("POST", f"{API}/members", wire.MemberView.model_validate_json, body))

    def list(self) -> Generator[wire.MemberView, None]:
        return pages(self._transport, f"{API}/members", {}, wire.MemberView)

    def change(self, member_id: str, *, name: str | None = None, role: str | None = None) -> wire.MemberView:
        path = f"{API}/members/{segment(member_id)}"
        body = given(name=name, role=role)
        return self._transport.send(json_call("PATCH", path, wire.MemberView.model_validate_json, body))

    def delete(self, member_id: str) -> None:
        """Remove the member; their keys open nothing any more."""
        self._transport.send(Call("DELETE", f"{API}/members/{segment(member_id)}", nothing))


class Keys:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str = "",
        *,
        scopes: Sequence[str] | None = None,
        member_id: str | None = None,
        instance: str | None = None,
        expires_in: Duration | None = None,
    ) -> wire.KeyMade:
        """The new key with its secret, which is shown this once. With `instance` it opens that instance alone."""
        body = given(
            name=name,
            scopes=None if scopes is None else [str(scope) for scope in scopes],
            member_id=member_id,
            instance=instance,
            expires_in_seconds=seconds(expires_in),
        )
        return self._transport.send(json_call("POST", f"{API}/keys", wire.KeyMade.model_validate_json, body))

    def get(self, key_id: str) -> wire.KeyView:
        return self._transport.send(Call("GET", f"{API}/keys/{segment(key_id)}", wire.KeyView.model_validate_json))

    def list(self) -> Generator[wire.KeyView, None]:
        return pages(self._transport, f"{API}/keys", {}, wire.KeyView)

    def revoke(self, key_id: str) -> None:
        """It opens nothing from now on. Of a revoked one: no effect."""
        self._transport.send(Call("DELETE", f"{API}/keys/{segment(key_id)}", nothing))
