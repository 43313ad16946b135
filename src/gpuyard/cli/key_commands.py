"""`gpuyard keys`: who may call the yard, for what, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuyard.cli.amounts import parse_duration, show_age
from gpuyard.cli.choices import complete_instance
from gpuyard.cli.screen import Column
from gpuyard.cli.session import Session

if TYPE_CHECKING:
    from gpuyard.wire.accounts import KeyView


def create(
    session: Session,
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="What it may do; all you may unless set.")
    ] = None,
    member: Annotated[str | None, typer.Option("--member", metavar="ID", help="For another member.")] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            "--instance", metavar="INSTANCE", help="Only for this instance.", autocompletion=complete_instance
        ),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="Valid for so long: 12h, 30d.")
    ] = None,
) -> None:
    """Make a key. It is shown this once."""
    seconds = parse_duration(expires, "--expires")
    with session.client() as client:
        made = client.keys.create(
            name=name, scopes=scope or None, member_id=member, instance=instance, expires_in=seconds
        )
    session.screen.say(f"key {made.key.id} made; it is shown this once:")
    session.screen.result(made, made.secret)


def ls(session: Session) -> None:
    """The account's keys."""
    with session.client() as client:
        found = list(client.keys.list())
    columns: list[Column[KeyView]] = [
        Column("ID", lambda k: k.id, narrow=True),
        Column("NAME", lambda k: k.name or "–"),
        Column("KEY", lambda k: k.hint),
        Column("SCOPES", lambda k: ",".join(k.scopes)),
        Column("MADE", lambda k: show_age(k.created_at), right=True, narrow=True),
        Column("USED", lambda k: show_age(k.last_used_at), right=True, narrow=True),
        Column("STATE", _state, narrow=True),
    ]
    session.screen.table(columns, found, empty="no keys")


def revoke(
    session: Session, keys: Annotated[list[str], typer.Argument(metavar="KEY_ID…", help="From `gpuyard keys ls`.")]
) -> None:
    """Make keys worthless, now and for good."""
    with session.client() as client:
        for key in keys:
            client.keys.revoke(key)
            session.screen.say(f"revoked {key}")
    session.screen.result({"revoked": keys})


def _state(key: KeyView) -> str:
    from datetime import UTC, datetime

    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "good"
