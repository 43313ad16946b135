# Made from `_async/` by scripts/generate_sync.py: change it there.
"""The client: one yard, one key."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gpuyard import wire
from gpuyard.sdk._sync.instance import Instance
from gpuyard.sdk._sync.instances import Instances
from gpuyard.sdk._sync.pages import pages
from gpuyard.sdk._sync.people import Accounts, Keys, Members
from gpuyard.sdk._sync.transport import Transport
from gpuyard.sdk.core import API, Call, RetryPolicy
from gpuyard.sdk.credentials import resolve
from gpuyard.sdk.orders import Amount, micro
from gpuyard.sdk.waiting import OnProgress

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Client:
    """Talks to one yard with one key, over connections that are kept.

    Without arguments it finds both by itself: `GPUYARD_URL` and `GPUYARD_API_KEY`, else the file that `gpuyard up` and
    `gpuyard login` write. Raises NotConfigured where there is nothing to find. Close it, or use it in a `with` block.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int | RetryPolicy = 3,
    ) -> None:
        policy = RetryPolicy(retries=retries) if isinstance(retries, int) else retries
        self._transport = Transport(resolve(url, api_key), timeout=timeout, retries=policy)
        self.instances = Instances(self._transport)
        self.accounts = Accounts(self._transport)
        self.members = Members(self._transport)
        self.keys = Keys(self._transport)

    @property
    def url(self) -> str:
        return self._transport.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._transport.close()

    def me(self) -> wire.MeView:
        """Whose key this is and what it may do."""
        return self._transport.send(Call("GET", f"{API}/me", wire.MeView.model_validate_json))

    def offers(
        self,
        gpu: str | None = None,
        count: int | None = None,
        *,
        max_price_per_hour: Amount | None = None,
        provider: str | None = None,
        region: str | None = None,
    ) -> list[wire.OfferView]:
        """What could be had now, the cheapest first. Raises UnknownGpu with the nearest known names."""
        query = {
            "gpu": gpu,
            "count": count,
            "max_price_per_hour_micro": micro(max_price_per_hour, "max_price_per_hour"),
            "provider": provider,
            "region": region,
        }
        return list(pages(self._transport, f"{API}/offers", query, wire.OfferView))

    def gpus(self) -> list[wire.GpuKind]:
        """The GPU types the yard knows, whether or not somebody offers them."""
        return list(pages(self._transport, f"{API}/gpus", {}, wire.GpuKind))

    def providers(self) -> list[wire.ProviderView]:
        return list(pages(self._transport, f"{API}/providers", {}, wire.ProviderView))

    def balance(self) -> wire.BalanceView:
        return self._transport.send(Call("GET", f"{API}/balance", wire.BalanceView.model_validate_json))

    def usage(self, start: datetime | None = None, end: datetime | None = None) -> wire.UsageView:
        """What was used from `start` to `end`; the yard's own idea of a period where they are left out."""
        query = {"start": start.isoformat() if start else None, "end": end.isoformat() if end else None}
        return self._transport.send(Call("GET", f"{API}/usage", wire.UsageView.model_validate_json, query))

    def ledger(self, *, page_size: int | None = None) -> Generator[wire.LedgerEntryView, None]:
        """Every charge and credit, newest first."""
        return pages(self._transport, f"{API}/ledger", {"limit": page_size}, wire.LedgerEntryView)

    def events(
        self, *, after: int | None = None, instance: str | None = None, follow: bool = True
    ) -> Generator[wire.EventView, None]:
        """What happened after the event number `after`, each once and in order; without it, what happens from now on.
        `follow=False` ends with what has happened up to now; without `after`, from the beginning."""
        if not follow:
            yield from self._events_up_to_now(after or 0, instance)
            return
        read = wire.EventView.model_validate_json
        events = self._transport.follow(f"{API}/events", query={"instance": instance}, after=after)
        with closing(events):
            for event in events:
                if event is not None:
                    yield read(event.data)

    def _events_up_to_now(self, after: int, instance: str | None) -> Generator[wire.EventView, None]:
        read = wire.Page[wire.EventView].model_validate_json
        while True:
            page = self._transport.send(
                Call("GET", f"{API}/events", read, query={"after": after, "instance": instance})
            )
            for event in page.items:
                yield event
                after = event.seq
            if page.next_cursor is None:
                return

    def instance(
        self,
        gpu: str | None = None,
        count: int = 1,
        *,
        start_timeout: float | None = None,
        on_progress: OnProgress | None = None,
        **order: Any,
    ) -> AbstractContextManager[Instance]:
        """An instance for the length of a `with` block: created (all of `instances.create`'s arguments), waited for,
        and deleted at the end, also when the block, the waiting or the ordering is interrupted."""
        return self.instances.lend(gpu=gpu, count=count, start_timeout=start_timeout, on_progress=on_progress, **order)
