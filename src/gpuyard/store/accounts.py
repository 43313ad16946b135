"""Accounts and their members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from gpuyard.domain.accounts import Account, Member, Role
from gpuyard.domain.ids import AccountId, MemberId
from gpuyard.store.statements import Row, Session, Statement, insert_row
from gpuyard.store.tables import accounts, members
from gpuyard.store.values import exact, instant, micros, plain

_a, _m = accounts.c, members.c

_ADD_ACCOUNT = Statement(insert_row(accounts))
_GET_ACCOUNT = Statement(select(accounts).where(_a.id == bindparam("id")))
_ALL_ACCOUNTS = Statement(select(accounts).order_by(_a.created_at, _a.id))
_SAVE_ACCOUNT = Statement(
    update(accounts)
    .where(_a.id == bindparam("id"))
    .values(name=bindparam("name"), operates_yard=bindparam("operates_yard"), credit_micro=bindparam("credit_micro"))
)

_ADD_MEMBER = Statement(insert_row(members))
_GET_MEMBER = Statement(select(members).where(_m.id == bindparam("id"), _m.account_id == bindparam("account_id")))
_MEMBERS_OF = Statement(select(members).where(_m.account_id == bindparam("account_id")).order_by(_m.created_at, _m.id))
_SAVE_MEMBER = Statement(
    update(members).where(_m.id == bindparam("id")).values(name=bindparam("name"), role=bindparam("role"))
)
_REMOVE_MEMBER = Statement(delete(members).where(_m.id == bindparam("id")))


class SqlAccounts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, account: Account) -> None:
        self._session.change(_ADD_ACCOUNT, _account_row(account))

    def get(self, account_id: AccountId) -> Account | None:
        row = self._session.row(_GET_ACCOUNT, {"id": account_id})
        return None if row is None else _account(row)

    def all(self) -> Sequence[Account]:
        return [_account(row) for row in self._session.rows(_ALL_ACCOUNTS)]

    def save(self, account: Account) -> None:
        self._session.change(_SAVE_ACCOUNT, _account_row(account))


class SqlMembers:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, member: Member) -> None:
        self._session.change(_ADD_MEMBER, _member_row(member))

    def get(self, account_id: AccountId, member_id: MemberId) -> Member | None:
        row = self._session.row(_GET_MEMBER, {"id": member_id, "account_id": account_id})
        return None if row is None else _member(row)

    def of(self, account_id: AccountId) -> Sequence[Member]:
        return [_member(row) for row in self._session.rows(_MEMBERS_OF, {"account_id": account_id})]

    def save(self, member: Member) -> None:
        self._session.change(_SAVE_MEMBER, _member_row(member))

    def remove(self, member_id: MemberId) -> None:
        self._session.change(_REMOVE_MEMBER, {"id": member_id})


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": plain(account.name),
        "created_at": micros(account.created_at),
        "operates_yard": int(account.operates_yard),
        "credit_micro": account.credit_micro,
    }


def _account(row: Row) -> Account:
    own_id, name, created_at, operates_yard, credit_micro = row
    return Account(own_id, exact(name), instant(created_at), bool(operates_yard), credit_micro)


def _member_row(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "account_id": member.account_id,
        "name": plain(member.name),
        "role": member.role.value,
        "created_at": micros(member.created_at),
    }


def _member(row: Row) -> Member:
    own_id, account_id, name, role, created_at = row
    return Member(own_id, account_id, exact(name), Role(role), instant(created_at))
