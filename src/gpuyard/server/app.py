"""One server's life: make the yard, say that it is ready, serve until told to stop, leave the instances running."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn

from gpuyard._version import __version__
from gpuyard.api.admission import Admission, Traffic
from gpuyard.api.app import build
from gpuyard.api.limits import BodySizes, Buckets
from gpuyard.api.streams import OpenStreams
from gpuyard.domain.errors import Unauthenticated, YardError
from gpuyard.domain.instances import ACTIVE
from gpuyard.reconcilers import Reconcilers, refresh_offers
from gpuyard.server import place
from gpuyard.server.connections import BoundedHttp
from gpuyard.server.exits import CannotStart, Exit
from gpuyard.server.metrics import Metrics
from gpuyard.server.settings import Settings
from gpuyard.server.wiring import open_yard, wrong_setting
from gpuyard.services import accounts
from gpuyard.services.authentication import authenticate
from gpuyard.services.yard import Yard

log = logging.getLogger("gpuyard.server")

CREDENTIALS = "credentials.json"
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104  read, not listened on
_GRACE_SECONDS = 10
"""For requests in flight at the end. Streams without an end of their own are ended at once."""
_IDLE_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is true of this one start, as opposed to a setting of the yard."""

    writes_credentials: bool = True
    ready_fd: int | None = None
    idle_exit_seconds: float | None = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: uvicorn would raise them again and spoil the exit status."""
        yield


def _own_name(settings: Settings) -> str:
    """Nobody else's while we hold the lock of the data directory, and the same when we start again there."""
    return f"{socket.gethostname()}:{settings.data_directory.resolve()}"


async def serve(settings: Settings, occasion: Occasion, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM, SIGINT or idleness. Raises CannotStart; a reconciler's bug comes out as it is."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with open_yard(settings) as yard:
        first_key = await _first_owner(yard, settings)
        await refresh_offers(yard)
        reconcilers = Reconcilers(yard, _own_name(settings))
        traffic, streams = Traffic(), OpenStreams()
        metrics = Metrics(yard, reconcilers, traffic)
        server = _server(settings, _application(yard, settings, traffic, streams, metrics))
        url = url_of(settings, listener)
        with place.announced(settings.data_directory, url, __version__):
            working = asyncio.create_task(reconcilers.run(), name="reconcilers")
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
            await server.up.wait()
            gc.freeze()
            gc.enable()
            await _say_ready(yard, settings, occasion, url, first_key)
            watching = asyncio.create_task(_idle_for(yard, traffic, occasion.idle_exit_seconds), name="idleness")
            told = asyncio.create_task(stopping.wait(), name="signals")
            await asyncio.wait({working, serving, watching, told}, return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping; instances run on")
            streams.end()
            server.should_exit = True
            for task in (watching, told):
                task.cancel()
            await serving
            working.cancel()
            await asyncio.gather(watching, told, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                await working


def listen(settings: Settings) -> socket.socket:
    """The listening socket. Raises CannotStart where the address is taken or is not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                Exit.ADDRESS,
                f"port {settings.port} of {settings.host} is in use",
                "take another with --port; 0 finds a free one",
            ) from None
        if error.errno == errno.EACCES:
            raise CannotStart(
                Exit.ADDRESS, f"this user may not listen on {where}", "take a port above 1023 with --port"
            ) from None
        raise CannotStart(
            Exit.ADDRESS,
            f"cannot listen on {where}: {error.strerror or error}",
            "name an address of this machine with --host",
        ) from None
    return listener


def url_of(settings: Settings, listener: socket.socket) -> str:
    """How clients on this machine reach it."""
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    host = _EVERY_INTERFACE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{listener.getsockname()[1]}"


def _application(yard: Yard, settings: Settings, traffic: Traffic, streams: OpenStreams, metrics: Metrics) -> Admission:
    limit = settings.rate_limit
    per_minute = limit.failures_per_minute
    return build(
        yard,
        rate=Buckets(limit.per_second, limit.burst),
        failures=Buckets(per_minute / 60, max(per_minute, 1)),
        logins=Buckets(limit.logins_per_minute / 60, max(limit.logins_per_minute, 1)),
        sizes=BodySizes(settings.bodies.json_bytes, settings.bodies.execution_bytes),
        streams=streams,
        traffic=traffic,
        noted=metrics.noted,
        metrics=metrics.text,
    )


def _server(settings: Settings, application: Admission) -> _Server:
    return _Server(
        uvicorn.Config(
            application,
            http=BoundedHttp,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=75,  # longer than proxies and pooled clients keep theirs, so that they close first
            ws_max_size=64 * 1024 * 1024,
        )
    )


async def _first_owner(yard: Yard, settings: Settings) -> str | None:
    """The key of the owner that was just made; None when there was one."""
    try:
        return await accounts.first_owner(yard, settings.owner_key.get_secret_value() if settings.owner_key else None)
    except YardError as error:
        raise wrong_setting(error) from error


async def _say_ready(yard: Yard, settings: Settings, occasion: Occasion, url: str, first_key: str | None) -> None:
    kept = False
    if occasion.writes_credentials:
        try:
            kept = await _keep_credentials(yard, settings, url, first_key)
        except OSError as error:  # clients on this machine need a key by hand then; the yard itself is well
            log.warning("%s cannot be written: %s", settings.home_directory / CREDENTIALS, error.strerror)
    print(f"gpuyard {__version__} ready at {url}", flush=True)  # noqa: T201  the promised line
    if first_key is not None and not kept and settings.owner_key is None:
        print(f"owner's key, shown this once: {first_key}", flush=True)  # noqa: T201
    if occasion.ready_fd is not None:
        told = {"url": url, "pid": os.getpid(), **({"owner_key": first_key} if first_key else {})}
        with contextlib.suppress(OSError), os.fdopen(occasion.ready_fd, "w") as waiting:  # whoever waited may be gone
            waiting.write(json.dumps(told) + "\n")


async def _keep_credentials(yard: Yard, settings: Settings, url: str, first_key: str | None) -> bool:
    """Write the new owner's key where the clients of this user look; a key of ours that is there gets our address.

    Somebody else's credentials are left alone. True when the file holds a key of this yard.
    """
    path = settings.home_directory / CREDENTIALS
    known = place.read_json(path)
    key = known.get("key")
    if first_key is not None and not isinstance(key, str):
        place.write_private(path, json.dumps({"url": url, "key": first_key}))
        return True
    if not isinstance(key, str) or not await _opens(yard, key):
        if first_key is not None:
            log.warning("%s belongs to another yard and was left as it is", path)
        return False
    if known.get("url") != url:
        place.write_private(path, json.dumps({**known, "url": url}))
    return True


async def _opens(yard: Yard, key: str) -> bool:
    try:
        await authenticate(yard, key)
    except Unauthenticated:
        return False
    return True


async def _idle_for(yard: Yard, traffic: Traffic, seconds: float | None) -> None:
    """Returns when nothing was asked and no instance was active for `seconds`; never for None."""
    if seconds is None:
        await asyncio.Event().wait()
        return
    quiet_since = time.monotonic()
    while True:
        await asyncio.sleep(min(_IDLE_LOOK_SECONDS, seconds / 4))
        busy = traffic.running > 0 or await yard.store.read(
            lambda tx: any(tx.instances.counts().get(state) for state in ACTIVE) or bool(tx.allocations.in_use())
        )
        quiet_since = time.monotonic() if busy else max(quiet_since, traffic.last_at)
        if time.monotonic() - quiet_since >= seconds:
            log.info("idle for %s seconds", seconds)
            return
