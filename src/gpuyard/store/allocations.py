"""GPUs promised to instances."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, func, select

from gpuyard.domain.ids import InstanceId
from gpuyard.domain.offers import Pool
from gpuyard.store.statements import Session, Statement, insert_row
from gpuyard.store.tables import allocations

_a = allocations.c
_POOL = (_a.provider, _a.region, _a.gpu_type)

_PUT = Statement(insert_row(allocations))
_DROP = Statement(delete(allocations).where(_a.instance_id == bindparam("instance_id")))
_IN_USE = Statement(select(*_POOL, func.sum(_a.count)).group_by(*_POOL))
_OF = Statement(select(*_POOL, _a.count).where(_a.instance_id == bindparam("instance_id")))


class SqlAllocations:
    """There are as many rows as instances that hold GPUs, so `in_use` simply adds them up: no second truth to keep."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, instance_id: InstanceId, pools: Mapping[Pool, int]) -> None:
        self.drop(instance_id)
        self._session.change_many(
            _PUT, [{"instance_id": instance_id, **pool._asdict(), "count": count} for pool, count in pools.items()]
        )

    def drop(self, instance_id: InstanceId) -> bool:
        return self._session.change(_DROP, {"instance_id": instance_id}) > 0

    def in_use(self) -> Mapping[Pool, int]:
        return {Pool(*pool): int(count) for *pool, count in self._session.rows(_IN_USE)}

    def of(self, instance_id: InstanceId) -> Mapping[Pool, int]:
        return {Pool(*pool): count for *pool, count in self._session.rows(_OF, {"instance_id": instance_id})}
