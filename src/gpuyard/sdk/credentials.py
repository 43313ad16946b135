"""Which yard to talk to, and with which key: arguments, then the environment, then the file `gpuyard up` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpuyard.sdk.errors import Invalid, NotConfigured

_HINT = (
    "`gpuyard up` starts a yard on this machine, `gpuyard login` points at one; or set GPUYARD_URL and GPUYARD_API_KEY"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    url: str
    api_key: str = field(repr=False)


def home(environ: Mapping[str, str] | None = None) -> Path:
    """`GPUYARD_HOME`, or `~/.config/gpuyard`."""
    named = (os.environ if environ is None else environ).get("GPUYARD_HOME")
    return Path(named).expanduser() if named else Path.home() / ".config" / "gpuyard"


def credentials_path(environ: Mapping[str, str] | None = None) -> Path:
    return home(environ) / "credentials.json"


def resolve(
    url: str | None = None, api_key: str | None = None, environ: Mapping[str, str] | None = None
) -> Credentials:
    """Raises NotConfigured where no yard or no key is known, Invalid where what is known is no use.

    The file's key goes to the file's yard alone: a URL from elsewhere needs a key from elsewhere.
    """
    environ = os.environ if environ is None else environ
    url = url or environ.get("GPUYARD_URL") or None
    api_key = api_key or environ.get("GPUYARD_API_KEY") or None
    saved = load(environ) if url is None or api_key is None else None
    if url is None:
        if saved is None:
            raise NotConfigured("no yard is configured here", hint=_HINT)
        url = saved.url
    if api_key is None:
        if saved is None or _tidy(saved.url) != _tidy(url):
            raise NotConfigured(f"no key is known for the yard at {url}", field="api_key", hint=_HINT)
        api_key = saved.api_key
    return Credentials(_checked(url), _checked_key(api_key))


def load(environ: Mapping[str, str] | None = None) -> Credentials | None:
    """What the file says; None without one. Raises Invalid for a file that says something else."""
    path = credentials_path(environ)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(str(told["url"]), str(told["key"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise Invalid(f"cannot read {path}: {problem.strerror}", hint="make it readable for you") from problem
    except (ValueError, TypeError, KeyError) as problem:
        raise Invalid(f'{path} is not {{"url", "key"}} as JSON', hint="remove it, then `gpuyard login`") from problem


def save(credentials: Credentials, environ: Mapping[str, str] | None = None) -> Path:
    """Write the file so that only its owner can read it, whole or not at all."""
    path = credentials_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": credentials.url, "key": credentials.api_key}, file)
        file.write("\n")
    fresh.replace(path)
    return path


def _tidy(url: str) -> str:
    return url.strip().rstrip("/")


def _checked(url: str) -> str:
    url = _tidy(url)
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"{url!r} is not the address of a yard", field="url", hint="write http://127.0.0.1:8080")
    return url


def _checked_key(api_key: str) -> str:
    api_key = api_key.strip()
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key or not api_key:
        raise Invalid("the key holds characters no key has", field="api_key", hint="copy it again, without line ends")
    return api_key
