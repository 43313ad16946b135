"""Connecting to a socket that programs of an instance could replace: to what lies there itself, never to what it points at."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

_OPEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def held(path: str) -> Iterator[str]:
    """A name of the very socket at `path`, good inside the block. Raises OSError for anything else, links included.

    A link in its place would have the server talk, in the server's name, to any other socket of this machine.
    """
    fd = os.open(path, _OPEN)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSOCK, "what lies there is not a socket", path)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class NoLinks(httpcore.AnyIOBackend):
    """httpcore's usual network, but for links in the place of Unix sockets."""

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with held(path) as itself:
                return await super().connect_unix_socket(itself, timeout, socket_options)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
