"""The client: a key, a base URL, and the GPU API behind `.gpu`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from gpuyard.vendors.novita import core
from gpuyard.vendors.novita._async.gpu import AsyncGpu
from gpuyard.vendors.novita._async.transport import AsyncTransport

if TYPE_CHECKING:
    import httpx


class AsyncNovitaClient:
    """Talks to Novita's GPU API, or to whatever speaks it at `base_url`.

    The key is `api_key`, else `NOVITA_API_KEY`; without one AuthenticationError is raised. Close it with `await aclose()`,
    or use it as `async with`.

    `retries` (how many, or a RetryPolicy) asks again where that is safe; by default nothing is asked twice. `rate_limit`
    (requests per second, or a RateLimit) makes calls wait for their turn. `transport` is one of httpx's, for tests and
    unusual networks.
    """

    gpu: AsyncGpu

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: float = core.DEFAULT_TIMEOUT,
        retries: int | core.RetryPolicy = 0,
        rate_limit: float | core.RateLimit | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            core.find_api_key(api_key),
            base_url or core.DEFAULT_BASE_URL,
            timeout=timeout,
            retries=core.RetryPolicy(retries) if isinstance(retries, int) else retries,
            rate_limit=core.RateLimit(rate_limit) if isinstance(rate_limit, int | float) else rate_limit,
            transport=transport,
        )
        self.gpu = AsyncGpu(self._transport)

    async def aclose(self) -> None:
        """Close the connections. Twice does no harm."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
