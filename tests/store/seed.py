"""Many instances at once, for measuring what a large yard costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from gpuyard.domain.ids import AccountId, InstanceId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.store import Store
from gpuyard.store.instance_rows import gpu_rows, label_rows, row_of
from gpuyard.store.instances import _ADD, _ADD_GPU, _ADD_LABEL
from gpuyard.store.tx import SqlTx
from tests.store.builders import an_instance

_TOGETHER = 20_000
_TEAMS = ("vision", "robots", "speech", "search")
_CARDS = ("nvidia-rtx-3090", "nvidia-rtx-4090", "nvidia-h100", "nvidia-l40s")
_STATES = (InstanceState.DELETED, *[InstanceState.RUNNING] * 2, InstanceState.STOPPED)


async def bulk_instances(store: Store, account_id: AccountId, n: int) -> None:
    """Add `n` instances to an account that is there, a second apart, in the states, teams and cards above by turns.

    It goes around the checks of `Instances.add`: into a store that has names like these it must not be used.
    """
    already = sum((await store.read(lambda tx: tx.instances.counts())).values())
    waiting = _many(account_id, n, already)
    while chunk := list(islice(waiting, _TOGETHER)):
        await store.write(lambda tx, chunk=chunk: _add(tx, chunk))  # type: ignore[misc]


def _many(account_id: AccountId, n: int, already: int) -> Iterator[Instance]:
    for number in range(n):
        # Counted up, since of a million random short ids a hundred would be there twice; and rising keys go in ten times faster.
        short = already + number
        yield an_instance(
            account_id,
            id=InstanceId(f"inst_{short:08x}{number:016x}"),
            state=_STATES[number % 4],
            age=timedelta(seconds=n - number),
            labels={"team": _TEAMS[number // 4 % 4]},
            gpus={_CARDS[number // 16 % 4]: 1},
            provider="local",
        )


def _add(tx: SqlTx, chunk: list[Instance]) -> None:
    never = {"wake_at": None, "due_at": None, "claim_holder": None, "claim_token": 0, "claim_until": None}
    rows = [row_of(instance) for instance in chunk]
    both = list(zip(chunk, rows, strict=True))
    tx._session.change_many(_ADD, [{**row, **never} for row in rows])
    tx._session.change_many(_ADD_LABEL, [label for one, row in both for label in label_rows(one, row)])
    tx._session.change_many(_ADD_GPU, [gpu for one, row in both for gpu in gpu_rows(one, row)])
