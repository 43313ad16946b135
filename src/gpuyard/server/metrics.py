"""What Prometheus reads: requests as they pass, the yard as it is when asked. Names no account and no instance."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from gpuyard._version import __version__
from gpuyard.api.admission import Passed, Traffic
from gpuyard.domain.instances import InstanceState
from gpuyard.reconcilers import Reconcilers
from gpuyard.services import providers
from gpuyard.services.yard import Yard

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """One per server. `noted` is cheap enough to be called for every request."""

    def __init__(self, yard: Yard, reconcilers: Reconcilers, traffic: Traffic) -> None:
        self._yard = yard
        self._traffic = traffic
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gpuyard_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "gpuyard_request_seconds",
            "From the first byte in to the last byte out; streams and WebSockets are left out.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._running = self._gauge("gpuyard_requests_running", "Requests being answered, open streams among them.")
        self._instances = self._gauge("gpuyard_instances", "Instances by state.", "state")
        self._gpus = self._gauge("gpuyard_gpus", "GPUs the yard counts itself.", "provider")
        self._gpus_in_use = self._gauge("gpuyard_gpus_in_use", "GPUs promised to instances.", "provider")
        self._healthy = self._gauge(
            "gpuyard_provider_healthy", "1 when the provider answered when last asked.", "provider"
        )
        self._charged = self._gauge("gpuyard_ledger_balance_micro", "Sum of all ledger entries of all accounts.")
        self._rate = self._gauge("gpuyard_running_per_hour_micro", "What runs now costs this much per hour.")
        self._gauge("gpuyard_build", "The version of the server.", "version").labels(__version__).set(1)
        self._registry.register(_Passes(reconcilers))

    def noted(self, passed: Passed) -> None:
        self._requests.labels(passed.method, passed.route, str(passed.status)).inc()
        if passed.status != 101 and passed.seconds < _SECONDS[-1]:
            self._seconds.labels(passed.route).observe(passed.seconds)

    async def text(self) -> bytes:
        """Everything, as it is now."""
        counts, balance, rate = await self._yard.store.read(
            lambda tx: (
                tx.instances.counts(),
                sum(tx.ledger.balance(account.id) for account in tx.accounts.all()),
                sum(interval.price_per_hour_micro for interval in tx.ledger.open_intervals()),
            )
        )
        for state in InstanceState:
            self._instances.labels(state.value).set(counts.get(state, 0))
        self._charged.set(balance)
        self._rate.set(rate)
        self._running.set(self._traffic.running)
        for it in await providers.states(self._yard):
            self._healthy.labels(it.name).set(it.problem is None)
            self._gpus_in_use.labels(it.name).set(it.gpus_in_use)
            if it.gpus_total is not None:
                self._gpus.labels(it.name).set(it.gpus_total)
        return generate_latest(self._registry)

    def _gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(name, told, labels, registry=self._registry)


class _Passes:
    """Counted by the reconcilers themselves; read when asked."""

    def __init__(self, reconcilers: Reconcilers) -> None:
        self._reconcilers = reconcilers

    def collect(self) -> Iterator[CounterMetricFamily]:
        passes = CounterMetricFamily("gpuyard_reconciler_passes", "Looks at single instances that were begun.")
        passes.add_metric([], self._reconcilers.schedule.passes)
        yield passes
