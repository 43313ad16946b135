"""The one thread that writes: takes all waiting functions and commits them together."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from gpuyard.domain.errors import StorageFull, StoreUnavailable
from gpuyard.store.databases import Database, Trouble
from gpuyard.store.events import write_events
from gpuyard.store.statements import Connection, Params, Session
from gpuyard.store.tx import SqlTx

_MOST_TOGETHER = 256
"""Bounds how long the first of a group waits for the last."""

_CONFLICT_TRIES = 50
_LOST_TRIES = 2


@dataclass(frozen=True, slots=True)
class Job:
    fn: Callable[[SqlTx], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class Outcome:
    value: Any = None
    error: BaseException | None = None


class Writer:
    """One commit is one wait for the disk, so everything that queued during the last one shares the next.

    Each function of a group has a savepoint of its own: one that raises undoes only itself.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._pause = threading.Event()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[[SqlTx], Any]) -> asyncio.Future[Any]:
        """Call on a running loop. If the future is cancelled before the function ran, it does not run; after
        that it is committed all the same."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:  # so that nothing is queued behind the end mark
            if self._closed:
                raise RuntimeError("the store is closed")
            self._queue.put(Job(fn, future, loop))
        return future

    def close(self) -> None:
        """Commits what is queued, then ends. Blocks. Twice does no harm."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        open_for_more = True
        while open_for_more:
            first = self._queue.get()
            jobs = [] if first is None else [first]
            open_for_more = first is not None
            with contextlib.suppress(Empty):
                while open_for_more and len(jobs) < _MOST_TOGETHER:
                    job = self._queue.get_nowait()
                    if job is None:
                        open_for_more = False
                    else:
                        jobs.append(job)
            jobs = [job for job in jobs if not job.future.cancelled()]
            if jobs:
                _tell(jobs, self._commit(jobs))
        self._disconnect()

    def _commit(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Never raises: whatever goes wrong becomes the outcome of the jobs it concerns."""
        tries = 0
        while True:
            tries += 1
            group = _Group(self._database, jobs)
            try:
                return group.run(self._connected())
            except Exception as error:
                trouble = self._database.trouble(error)
                self._undo(trouble)
                if trouble is Trouble.FULL:
                    return [Outcome(error=storage_full(error)) for _ in jobs]
                if trouble is Trouble.LOST:
                    if group.committing or tries >= _LOST_TRIES:  # it may have been committed: do not do it twice
                        return [Outcome(error=store_unavailable(error)) for _ in jobs]
                    continue
                if len(jobs) > 1:  # one of them may be what is wrong: let each stand for itself
                    return [outcome for job in jobs for outcome in self._commit([job])]
                if trouble is not Trouble.CONFLICT:
                    return [Outcome(error=error)]
                if tries >= _CONFLICT_TRIES:
                    return [Outcome(error=store_unavailable(error))]
                self._pause.wait(random.uniform(0, min(0.001 * 2 ** min(tries, 7), 0.1)))  # noqa: S311 (jitter)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.connect(writable=True)
        return self._connection

    def _undo(self, trouble: Trouble | None) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except Exception as error:
            # SQLite rolls back by itself when its disk is full and then refuses to do it again.
            if trouble is Trouble.LOST or self._database.trouble(error) is not None:
                self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None


class _Group:
    """One transaction for several functions."""

    def __init__(self, database: Database, jobs: Sequence[Job]) -> None:
        self._database = database
        self._jobs = jobs
        self.committing = False

    def run(self, connection: Connection) -> list[Outcome]:
        """Raises what made the whole transaction fail: a full disk, a conflict, a lost connection. Nothing of it is
        committed then, unless `committing` and the connection was lost."""
        connection.execute(self._database.begin_write)
        events: list[Params] = []
        alone = len(self._jobs) == 1
        outcomes = [self._run_one(connection, job, events, alone=alone) for job in self._jobs]
        if alone and outcomes[0].error is not None:
            connection.execute("ROLLBACK")
            return outcomes
        if events:
            self._write_events(connection, events)
        self.committing = True
        connection.execute("COMMIT")
        return outcomes

    def _run_one(self, connection: Connection, job: Job, events: list[Params], *, alone: bool) -> Outcome:
        session = Session(connection, self._database.dialect, writable=True)
        if not alone:
            connection.execute("SAVEPOINT one")
        try:
            value = job.fn(SqlTx(session))
            if session.trouble is not None:  # swallowed by the function; PostgreSQL would commit nothing and say it did
                raise session.trouble
            if not alone:
                connection.execute("RELEASE SAVEPOINT one")
        except BaseException as error:
            if session.trouble is not None and self._database.trouble(session.trouble) is not None:
                raise session.trouble from None
            if not alone:
                connection.execute("ROLLBACK TO SAVEPOINT one")
                connection.execute("RELEASE SAVEPOINT one")
            return Outcome(error=error)
        finally:
            session.finish()
        events.extend(session.events)
        return Outcome(value)

    def _write_events(self, connection: Connection, events: Sequence[Params]) -> None:
        session = Session(connection, self._database.dialect, writable=True)
        self._database.before_events(session)
        write_events(session, events)
        session.finish()


def store_unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(
        f"the yard's database does not answer: {' '.join(str(error).split())}",
        hint="check that the PostgreSQL server runs; the yard then goes on by itself",
        retry_after=1,
    )


def storage_full(error: BaseException) -> StorageFull:
    return StorageFull(
        f"the yard cannot write to its database: {error}",
        hint="free some space on the disk of the data directory, or make it writable; the yard then goes on by itself",
        retry_after=5,
    )


def _tell(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Waking a loop costs a system call, so each is woken once for all its futures."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = defaultdict(list)
    for job, outcome in zip(jobs, outcomes, strict=True):
        by_loop[job.loop].append((job.future, outcome))
    for loop, told in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits for the answer any more
            loop.call_soon_threadsafe(_settle, told)


def _settle(told: Sequence[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for future, outcome in told:
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        elif isinstance(outcome.error, StopIteration):  # a future cannot hold one
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(outcome.error)
