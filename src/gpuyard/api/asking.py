"""What every route is given: the yard, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import Forbidden
from gpuyard.services.yard import Yard


@dataclass(frozen=True, slots=True)
class Ask:
    yard: Yard
    caller: Caller

    def for_account(self) -> Ask:
        """Raises Forbidden for an instance key: what concerns the whole account is not its business."""
        if self.caller.instance_id is not None:
            raise Forbidden(
                "an instance key sees its instance alone",
                hint="use an account key: `sk_compute_…`",
                details={"instance_id": self.caller.instance_id},
            )
        return self

    def may(self, scope: Scope) -> bool:
        return scope in self.caller.scopes


async def _ask(connection: HTTPConnection) -> Ask:
    return Ask(connection.app.state.yard, connection.scope["gpuyard.caller"])


Asked = Annotated[Ask, Depends(_ask)]

PageSize = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]
