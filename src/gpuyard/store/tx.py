"""One transaction, as the nouns see it."""

from __future__ import annotations

from gpuyard.store.accounts import SqlAccounts, SqlMembers
from gpuyard.store.allocations import SqlAllocations
from gpuyard.store.attempts import SqlAttempts
from gpuyard.store.events import SqlEvents
from gpuyard.store.executions import SqlExecutions
from gpuyard.store.idempotency import SqlIdempotency
from gpuyard.store.instances import SqlInstances
from gpuyard.store.keys import SqlKeys
from gpuyard.store.ledger import SqlLedger
from gpuyard.store.statements import Session


class SqlTx:
    """`ports.store.Tx`. Raises RuntimeError when it is used after its function returned."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def accounts(self) -> SqlAccounts:
        return SqlAccounts(self._session)

    @property
    def members(self) -> SqlMembers:
        return SqlMembers(self._session)

    @property
    def keys(self) -> SqlKeys:
        return SqlKeys(self._session)

    @property
    def instances(self) -> SqlInstances:
        return SqlInstances(self._session)

    @property
    def allocations(self) -> SqlAllocations:
        return SqlAllocations(self._session)

    @property
    def attempts(self) -> SqlAttempts:
        return SqlAttempts(self._session)

    @property
    def executions(self) -> SqlExecutions:
        return SqlExecutions(self._session)

    @property
    def ledger(self) -> SqlLedger:
        return SqlLedger(self._session)

    @property
    def events(self) -> SqlEvents:
        return SqlEvents(self._session)

    @property
    def idempotency(self) -> SqlIdempotency:
        return SqlIdempotency(self._session)
