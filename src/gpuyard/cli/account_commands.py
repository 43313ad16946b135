"""`gpuyard accounts` and `gpuyard members`: who pays, and who belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuyard.cli.amounts import show_age, show_money
from gpuyard.cli.failures import CliError
from gpuyard.cli.screen import Column
from gpuyard.cli.session import Session

if TYPE_CHECKING:
    from gpuyard.wire.accounts import AccountView, MemberView

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT_ID", help="From `gpuyard accounts ls`.")]
MemberId = Annotated[str, typer.Argument(metavar="MEMBER_ID", help="From `gpuyard members ls`.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="ROLE", help="owner, member or viewer.")]


def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Who it is.")],
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="The name of its first member.")] = "owner",
    credit: Annotated[
        str | None,
        typer.Option("--credit", metavar="AMOUNT", help="How far below zero it may go; no bound unless set."),
    ] = None,
) -> None:
    """Make an account. Its owner's key is shown this once."""
    with session.client() as client:
        made = client.accounts.create(name, owner_name=owner, credit=credit)
    session.screen.say(f"account {made.account.id} made; its owner's key is shown this once:")
    session.screen.result(made, made.owner_key)


def ls(session: Session) -> None:
    """All accounts of the yard."""
    with session.client() as client:
        found = list(client.accounts.list())
    columns: list[Column[AccountView]] = [
        Column("ID", lambda a: a.id, narrow=True),
        Column("NAME", lambda a: a.name),
        Column("BALANCE", lambda a: show_money(a.balance_micro, a.currency), right=True, narrow=True),
        Column("HELD", lambda a: show_money(a.held_micro, a.currency), right=True, narrow=True),
        Column("CREDIT", _credit, right=True, narrow=True),
        Column("MADE", lambda a: show_age(a.created_at), right=True, narrow=True),
    ]
    session.screen.table(columns, found, empty="no accounts")


def show(session: Session, account: AccountId) -> None:
    """One account."""
    with session.client() as client:
        found = client.accounts.get(account)
    session.screen.facts(
        [
            ("id", found.id),
            ("name", found.name),
            ("balance", show_money(found.balance_micro, found.currency)),
            ("held", show_money(found.held_micro, found.currency)),
            ("credit", _credit(found)),
            ("made", found.created_at.isoformat()),
            ("operates the yard", "yes" if found.operates_yard else "no"),
        ],
        found,
    )


def credit(
    session: Session,
    account: AccountId,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="How much to add, e.g. 25.")],
    reason: Annotated[str, typer.Option("--reason", help="Kept in the ledger.")] = "",
) -> None:
    """Add money to an account's balance."""
    with session.client() as client:
        found = client.accounts.add_credit(account, amount, reason=reason)
    session.screen.result(found, f"balance of {found.name}: {show_money(found.balance_micro, found.currency)}")


def add_member(
    session: Session,
    name: Annotated[str, typer.Argument(help="Who it is.")],
    role: RoleOption = "member",
) -> None:
    """Add somebody to your account; `gpuyard keys create --member ID` makes their key."""
    with session.client() as client:
        made = client.members.create(name, role=role)
    session.screen.result(made, f"{made.name} ({made.role}): {made.id}")


def members(session: Session) -> None:
    """Who belongs to your account."""
    with session.client() as client:
        found = list(client.members.list())
    columns: list[Column[MemberView]] = [
        Column("ID", lambda m: m.id, narrow=True),
        Column("NAME", lambda m: m.name),
        Column("ROLE", lambda m: str(m.role), narrow=True),
        Column("SINCE", lambda m: show_age(m.created_at), right=True, narrow=True),
    ]
    session.screen.table(columns, found, empty="no members")


def change_member(
    session: Session,
    member: MemberId,
    name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="owner, member or viewer.")] = None,
) -> None:
    """Rename somebody, or give them another role."""
    if name is None and role is None:
        raise CliError("nothing to change", hint="give --name or --role")
    with session.client() as client:
        changed = client.members.change(member, name=name, role=role)
    session.screen.result(changed, f"{changed.name} ({changed.role}): {changed.id}")


def remove_member(session: Session, member: MemberId) -> None:
    """Take somebody out of your account. Their keys stop working."""
    with session.client() as client:
        client.members.delete(member)
    session.screen.result({"removed": member}, f"removed {member}")


def _credit(account: AccountView) -> str:
    return "no bound" if account.credit_micro is None else show_money(account.credit_micro, account.currency)
