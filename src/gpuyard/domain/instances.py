"""Instances: what was asked for, what became of it, and the moves in between."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gpuyard.domain.errors import Invalid
from gpuyard.domain.gpus import CPU
from gpuyard.domain.ids import AccountId, InstanceId, KeyId
from gpuyard.domain.lifecycle import Lifecycle
from gpuyard.domain.offers import Pool


class InstanceState(StrEnum):
    WAITING = "waiting"
    """In line for capacity; nothing is reserved and nothing costs."""
    REQUESTED = "requested"
    """Capacity is reserved; the provider has not yet been seen to have the order."""
    PROVISIONING = "provisioning"
    """The provider is preparing the machine."""
    RUNNING = "running"
    """It answers, and costs."""
    STOPPING = "stopping"
    """What runs in it is ended; its disk will be kept."""
    STOPPED = "stopped"
    """The disk is kept, the GPUs are given back."""
    STARTING = "starting"
    """A stopped instance on its way back; its GPUs are reserved again."""
    DELETING = "deleting"
    """The provider is asked to erase it until nothing of it is left."""
    DELETED = "deleted"
    """Nothing of it is left but its record and its bill."""
    FAILED = "failed"
    """It ended by itself. The provider is still asked to release until it says it has."""


class InstanceEvent(StrEnum):
    PLACED = "placed"
    """Its turn came: GPUs were reserved for it."""
    PLACED_AGAIN = "placed_again"
    """The same for one that has a disk to come back to."""
    UNPLACED = "unplaced"
    """The provider had no room after all: back in line."""
    ORDERED = "ordered"
    """The provider has the order."""
    READY = "ready"
    """Its resident answers."""
    STOP = "stop"
    """The customer, or a limit, stops it."""
    HALTED = "halted"
    """Nothing of it runs any more."""
    START = "start"
    """The customer starts it where its disk is, and there is room."""
    START_LATER = "start_later"
    """Start when there is capacity: the stopped instance joins the line."""
    DELETE = "delete"
    """The customer no longer wants it."""
    RELEASED = "released"
    """The provider has nothing of it any more."""
    VANISHED = "vanished"
    """The provider lost it, or it ended by itself."""
    REFUSED = "refused"
    """The provider said no, for good."""
    GAVE_UP = "gave_up"
    """Our patience with a passing state ran out."""


S, E = InstanceState, InstanceEvent

_LIVE = (S.WAITING, S.REQUESTED, S.PROVISIONING, S.RUNNING, S.STOPPING, S.STOPPED, S.STARTING, S.FAILED)

INSTANCE_LIFECYCLE: Lifecycle[InstanceState, InstanceEvent] = Lifecycle(
    noun="instance",
    start=S.WAITING,
    arrows={
        (S.WAITING, E.PLACED): S.REQUESTED,
        (S.WAITING, E.PLACED_AGAIN): S.STARTING,
        (S.WAITING, E.GAVE_UP): S.FAILED,
        (S.WAITING, E.REFUSED): S.FAILED,
        (S.WAITING, E.STOP): S.STOPPING,  # a stopped instance that waited to start again; see may_stop
        (S.REQUESTED, E.UNPLACED): S.WAITING,
        (S.REQUESTED, E.ORDERED): S.PROVISIONING,
        (S.REQUESTED, E.REFUSED): S.FAILED,
        (S.REQUESTED, E.GAVE_UP): S.FAILED,
        (S.PROVISIONING, E.READY): S.RUNNING,
        (S.PROVISIONING, E.VANISHED): S.FAILED,
        (S.PROVISIONING, E.REFUSED): S.FAILED,
        (S.PROVISIONING, E.GAVE_UP): S.FAILED,
        (S.RUNNING, E.STOP): S.STOPPING,
        (S.RUNNING, E.VANISHED): S.FAILED,
        (S.STOPPING, E.HALTED): S.STOPPED,
        (S.STOPPING, E.VANISHED): S.FAILED,
        (S.STOPPED, E.START): S.STARTING,
        (S.STOPPED, E.START_LATER): S.WAITING,
        (S.STOPPED, E.VANISHED): S.FAILED,
        (S.STARTING, E.READY): S.RUNNING,
        (S.STARTING, E.UNPLACED): S.WAITING,
        (S.STARTING, E.VANISHED): S.FAILED,
        # its disk is kept: what cannot start again goes back to being stopped, never to being erased
        (S.STARTING, E.REFUSED): S.STOPPING,
        (S.STARTING, E.GAVE_UP): S.STOPPING,
        (S.STARTING, E.STOP): S.STOPPING,
        (S.DELETING, E.RELEASED): S.DELETED,
        **{(state, E.DELETE): S.DELETING for state in _LIVE},
    },
)

PATIENCE: Mapping[InstanceState, timedelta] = {
    S.REQUESTED: timedelta(minutes=10),
    S.PROVISIONING: timedelta(minutes=20),
    S.STARTING: timedelta(minutes=20),
}
"""How long a passing state may last before we give up on it. `waiting` has the customer's own
`max_start`. Two have none on purpose: a machine that is `deleting` is asked away until it is gone, and one that is
`stopping` is asked to stop until it has, since giving it up would erase the disk its owner was promised."""

ENDED = frozenset({S.DELETED, S.FAILED})
ACTIVE = frozenset(S) - ENDED - {S.STOPPED}
"""What `gpuyard cost` calls active: it runs, or is on its way to or from running."""


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """`count` cards of one type."""

    type: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """What the customer asked for, or what of it was granted; immutable once accepted."""

    gpus: tuple[GpuRequest, ...]
    vcpus: int = 2
    ram_gb: int = 4
    disk_gb: int = 20
    image: str = "python"
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()

    def demand(self) -> dict[str, int]:
        """GPU type → how many; the pseudo type `cpu` where no GPU was asked for."""
        if not self.gpus:
            return {CPU: 1}
        demand: dict[str, int] = {}
        for request in self.gpus:
            demand[request.type] = demand.get(request.type, 0) + request.count
        return demand


@dataclass(frozen=True, slots=True)
class Limits:
    """What stops an instance by itself. None for no limit."""

    max_cost_micro: int | None = None
    max_duration: timedelta | None = None
    """Counted over all the time it ran."""
    max_idle: timedelta | None = None
    max_start: timedelta | None = None
    """From creation to running; after that the order is given up."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the customer would have it. Empty tuples for anywhere."""

    providers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    max_price_per_hour_micro: int | None = None
    """For the whole instance."""


@dataclass(frozen=True, slots=True)
class Instance:
    id: InstanceId
    short_id: str
    account_id: AccountId
    created_by: KeyId
    name: str
    state: InstanceState
    entered_at: datetime
    """When it came into this state."""
    created_at: datetime
    spec: InstanceSpec
    state_reason: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    placement: Placement = Placement()
    priority: int = 50
    """0 to 100; more is earlier in line."""
    provider: str | None = None
    region: str | None = None
    simulated: bool = False
    price_per_hour_micro: int | None = None
    """Fixed when it is placed; what it costs while it runs."""
    running_at: datetime | None = None
    """When it first ran."""
    has_disk: bool = False
    """A provider keeps a disk for it: it must start where it stopped."""
    may_wait: bool = True
    """False when the customer asked for capacity now or not at all: it fails rather than joins the line."""

    @property
    def pools(self) -> dict[Pool, int]:
        """What it takes from which pool. Empty before it is placed."""
        if self.provider is None or self.region is None:
            return {}
        return {Pool(self.provider, self.region, gpu): n for gpu, n in self.spec.demand().items()}


def may_stop(instance: Instance) -> bool:
    """Only what has a disk to keep, or runs, can be stopped; anything else is deleted."""
    return INSTANCE_LIFECYCLE.allows(instance.state, E.STOP) and (instance.state is S.RUNNING or instance.has_disk)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")
MAX_LABELS = 64
MAX_LABEL_VALUE = 256


def default_name(short_id: str) -> str:
    return f"compute-gpu-{short_id}"


def check_name(name: str) -> str:
    """Raises Invalid unless `name` can stand in a URL and cannot be mistaken for an id."""
    if not _NAME.fullmatch(name) or name.startswith("inst_"):
        raise Invalid(
            f"{name!r} cannot be a name",
            field="name",
            hint="up to 63 letters, digits, '.', '_' and '-', starting with a letter or digit, not with 'inst_'",
        )
    if re.fullmatch(r"[0-9a-f]{8}", name):
        raise Invalid(f"{name!r} looks like a short id", field="name", hint="add a letter beyond f, or a dash")
    return name


def check_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if len(labels) > MAX_LABELS:
        raise Invalid(f"{len(labels)} labels are too many", field="labels", hint=f"at most {MAX_LABELS}")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise Invalid(
                f"{key!r} cannot be a label",
                field="labels",
                hint="up to 63 letters, digits, '.', '_', '/' and '-', starting with a letter or digit",
            )
        if len(value) > MAX_LABEL_VALUE:
            raise Invalid(
                f"the value of label {key!r} is too long", field="labels", hint=f"at most {MAX_LABEL_VALUE} characters"
            )
    return labels
