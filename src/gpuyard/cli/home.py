"""Which yard is meant, and where this machine's own yard lives. The SDK decides; here is what people are told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuyard.cli.options import Options

if TYPE_CHECKING:
    from gpuyard import Client


@dataclass(frozen=True)
class Access:
    """Where the yard is and with which key, and where its address was found."""

    url: str
    api_key: str
    source: str


def home() -> Path:
    return Path(os.environ.get("GPUYARD_HOME") or "~/.config/gpuyard").expanduser().absolute()


def data_directory(given: Path | None = None) -> Path:
    """Where this machine's yard keeps its things, as the server itself decides it."""
    if given is not None:
        return given.expanduser().absolute()
    from_environment = os.environ.get("GPUYARD_DATA")
    return Path(from_environment).expanduser().absolute() if from_environment else home() / "data"


def find_access(options: Options) -> Access | None:
    """None where nothing says which yard. Raises the SDK's errors for half an answer or a file that cannot be read."""
    from gpuyard.sdk.credentials import credentials_path, load, resolve

    if options.url:
        source = "--url"
    elif os.environ.get("GPUYARD_URL"):
        source = "GPUYARD_URL"
    elif load() is not None:
        source = str(credentials_path())
    else:
        return None
    found = resolve(options.url, options.api_key)
    return Access(found.url, found.api_key, source)


@contextmanager
def open_client(options: Options) -> Iterator[Client]:
    """Raises NotConfigured where no yard is known."""
    from gpuyard import Client

    with Client(options.url, options.api_key) as client:
        yield client


@contextmanager
def connect(access: Access) -> Iterator[Client]:
    from gpuyard import Client

    with Client(access.url, access.api_key) as client:
        yield client


def store(url: str, api_key: str) -> Path:
    """Keep the key for next time."""
    from gpuyard.sdk.credentials import Credentials, save

    return save(Credentials(url, api_key))
