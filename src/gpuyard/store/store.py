"""The store: functions in, committed results out."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gpuyard.ports.store import Tx
from gpuyard.store.databases import Database, Trouble
from gpuyard.store.statements import Connection, Session
from gpuyard.store.tx import SqlTx
from gpuyard.store.writer import Writer, store_unavailable

T = TypeVar("T")


class SqlStore:
    """`ports.store.Store` on SQLite or PostgreSQL. Works from every event loop of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writer = Writer(database)
        self._readers = ThreadPoolExecutor(database.readers, thread_name_prefix="store-reader")
        self._mine = threading.local()
        self._connections: set[Connection] = set()

    async def write(self, fn: Callable[[Tx], T]) -> T:
        result: T = await self._writer.submit(fn)
        return result

    async def read(self, fn: Callable[[Tx], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)

    async def close(self) -> None:
        """Waits for what was asked before. Twice does no harm; `write` and `read` then raise RuntimeError."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        self._writer.close()
        while self._connections:
            with contextlib.suppress(Exception):
                self._connections.pop().close()

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            return self._read_once(fn)
        except Exception as error:
            if self._database.trouble(error) is not Trouble.LOST:
                raise
        try:
            return self._read_once(fn)  # on a new connection: a server that was restarted is no reason to fail
        except Exception as error:
            if self._database.trouble(error) is Trouble.LOST:
                raise store_unavailable(error) from error
            raise

    def _read_once(self, fn: Callable[[Tx], T]) -> T:
        connection = self._connected()
        session = Session(connection, self._database.dialect, writable=False)
        try:
            connection.execute(self._database.begin_read)
            return fn(SqlTx(session))
        finally:
            session.finish()
            try:
                connection.execute("ROLLBACK")
            except Exception:
                self._disconnect(connection)

    def _connected(self) -> Connection:
        connection: Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = self._database.connect(writable=False)
            self._connections.add(connection)
        return connection

    def _disconnect(self, connection: Connection) -> None:
        self._mine.connection = None
        self._connections.discard(connection)
        with contextlib.suppress(Exception):
            connection.close()
