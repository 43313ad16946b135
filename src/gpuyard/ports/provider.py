"""What a provider of machines must be able to do. `docs/providers.md` teaches writing one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gpuyard.domain.ids import InstanceId
from gpuyard.domain.instances import InstanceSpec
from gpuyard.domain.offers import Offer
from gpuyard.domain.sightings import Reach, Sighting


@dataclass(frozen=True, slots=True)
class Order:
    """Everything a provider needs to make one instance."""

    instance_id: InstanceId
    short_id: str
    name: str
    region: str
    spec: InstanceSpec
    resident_secret: str
    """What the server presents to the resident; the resident must refuse everybody else."""
    app_password: str
    """What a person types to open an application of this instance."""
    labels: Mapping[str, str]


class Provider(Protocol):
    """Rents out GPUs. Any method may raise ProviderUnavailable (we look and ask again) or
    ProviderRefused (we do not; `details["no_capacity"]` puts the instance back in line).

    No method waits for the machine: the reconciler comes back and looks.
    Every method may be called again after any crash; asking twice does no harm.
    """

    name: str

    async def open(self) -> None:
        """Called once before anything else: find what still runs from an earlier life."""

    async def close(self) -> None:
        """Called once at the end. Instances keep running; what serves only this process ends."""

    async def offers(self) -> Sequence[Offer]:
        """What there is now. Called every few seconds: it must be cheap."""

    async def order(self, order: Order) -> None:
        """Begin to make the machine. With an id it already knows: no effect."""

    async def sight(self, instance_id: InstanceId) -> Sighting:
        """Report what is there. Unknown or fully released: ABSENT. Never raises for an unknown id."""

    async def release(self, instance_id: InstanceId) -> None:
        """Begin to end and erase the machine and its disk. Of what is gone already: no effect."""

    def reach(self, instance_id: InstanceId) -> Reach | None:
        """Where the resident of a running instance listens; None when there is nothing to reach."""


@runtime_checkable
class CanStop(Protocol):
    """Keeps the disk of a stopped instance while its GPUs serve others."""

    async def stop(self, instance_id: InstanceId) -> None:
        """Begin to stop; the sighting becomes STOPPED. Of what is stopped: no effect."""

    async def start(self, order: Order) -> None:
        """Begin to start what was stopped, on its kept disk. Of what runs: no effect."""


@runtime_checkable
class CanList(Protocol):
    """Knows every machine it holds for this yard, so that one nobody remembers can be released."""

    async def tenants(self) -> Sequence[InstanceId]: ...


@runtime_checkable
class CanWatch(Protocol):
    """Says by itself when something changed, so that nobody has to ask in a loop."""

    async def changed(self) -> InstanceId:
        """Wait until the sighting of some instance may have changed; answer which."""
