"""The way into an instance: to its resident, for those who may run things there."""

from __future__ import annotations

from gpuyard.domain.accounts import Caller, Scope
from gpuyard.domain.errors import IllegalMove, InstanceUnreachable
from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import Instance, InstanceState
from gpuyard.ports.residents import Resident
from gpuyard.services.instances import find
from gpuyard.services.yard import Yard


async def resident(yard: Yard, caller: Caller, ref: str, scope: Scope = Scope.RUN) -> tuple[Instance, Resident]:
    """A running instance and the way to its resident.

    Raises NotFound, Forbidden, IllegalMove when it does not run, InstanceUnreachable when nothing answers.
    """
    caller.must(scope)
    instance = await yard.store.read(lambda tx: find(tx, caller, ref))
    return instance, resident_of(yard, instance)


def resident_of(yard: Yard, instance: Instance) -> Resident:
    """The same without a caller, for the yard's own work."""
    if instance.state is not InstanceState.RUNNING:
        raise IllegalMove(
            f"the instance is {instance.state}, not running",
            hint=_WHAT_TO_DO.get(instance.state, "wait until it runs"),
            details={"state": str(instance.state)},
        )
    return reached(yard, instance.id, instance.provider)


def reached(yard: Yard, instance_id: InstanceId, provider: str | None) -> Resident:
    """Raises InstanceUnreachable where the provider knows no way."""
    known = yard.providers.get(provider or "")
    reach = known.reach(instance_id) if known is not None else None
    if reach is None:
        raise InstanceUnreachable(
            "this instance has no resident to talk to",
            hint="its provider only pretends to run machines, or is not configured any more",
            details={"provider": provider},
        )
    return yard.residents.at(instance_id, reach, yard.secret.resident_secret(instance_id))


_WHAT_TO_DO = {
    InstanceState.STOPPED: "start it: `gpuyard instances start`",
    InstanceState.STOPPING: "wait until it is stopped, then start it again",
    InstanceState.DELETING: "make a new one",
    InstanceState.DELETED: "make a new one",
    InstanceState.FAILED: "`gpuyard instances why` says what happened; make a new one",
}
