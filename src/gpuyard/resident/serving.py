"""Listens, lives until told to go, and leaves nothing running."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from gpuyard.resident.app import build
from gpuyard.resident.core import Resident
from gpuyard.resident.reaper import sweep_for_ever
from gpuyard.resident.wire import Residence, ResidentConfig

log = logging.getLogger("gpuyard.resident")

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_SOCKET_PATH_LIMIT = 107
"""What the kernel's `sun_path` holds without its final zero."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the resident's business: uvicorn would raise them again and spoil the exit status."""
        yield


async def serve(config: ResidentConfig) -> None:
    """Run one resident until it is told to go. Raises OSError when it cannot listen."""
    _take_in_orphans()
    listener = listen(config.residence)
    resident = Resident(config)
    _go_when_told(resident)
    if resident.instance.assignment is None:
        _go_with_standard_input(resident)
    server = _Server(
        uvicorn.Config(
            build(resident),
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            ws_max_size=64 * 1024 * 1024,
        )
    )
    resident.instance.prepare()
    sweeping = asyncio.create_task(sweep_for_ever())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    if resident.instance.assignment is None:
        resident.kernels.warm_up()
    leaving = asyncio.create_task(resident.instance.ending.wait())
    await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    resident.leave()
    await resident.close()
    sweeping.cancel()
    server.should_exit = True
    await serving
    _remove_socket(config.residence)


def listen(residence: Residence) -> socket.socket:
    """The listening socket; a Unix one is for its owner alone. A socket file nobody answers on is replaced."""
    if residence.socket is None:
        return _listen_on_port(residence.host or "127.0.0.1", residence.port or 0)
    path = Path(residence.socket)
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        raise OSError(f"the socket path {path} has more than {_SOCKET_PATH_LIMIT} bytes; choose a shorter one")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        if _answers(path):
            raise OSError(f"another resident listens on {path}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(256)
    return listener


def _remove_socket(residence: Residence) -> None:
    if residence.socket is not None:
        Path(residence.socket).unlink(missing_ok=True)


def _listen_on_port(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=256)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _take_in_orphans() -> None:
    """Programs that daemonise come back to the resident, so that they end with it; its memory is not theirs to read."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _go_when_told(resident: Resident) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, resident.leave)


def _go_with_standard_input(resident: Resident) -> None:
    """A warm resident nobody claimed must not outlive whoever started it."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # A plain blocking read in a thread of its own: epoll refuses files and /dev/null.
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(closed)

    def closed() -> None:
        if resident.instance.assignment is None:
            resident.leave()

    threading.Thread(target=watch, name="stdin", daemon=True).start()
