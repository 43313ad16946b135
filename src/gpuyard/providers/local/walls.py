"""What stands around the instances of this machine, and what its owner should know about it."""

from __future__ import annotations

import asyncio
import os

from gpuyard.domain.errors import ProviderUnavailable
from gpuyard.providers.local.disk import Disk
from gpuyard.providers.local.launch import Launcher
from gpuyard.providers.local.sandbox import Sandbox, find_sandbox
from gpuyard.providers.local.settings import LocalSettings


async def find_walls(settings: LocalSettings, disk: Disk, *, real_cards: bool) -> tuple[Launcher, tuple[str, ...]]:
    """How residents are started here, and warnings. Raises ProviderUnavailable for a sandbox that must be and is not."""
    if settings.sandbox == "none":
        why = "instances run without a sandbox: their programs can read what this user can"
        return Launcher(settings.python, None), (why,)
    found = await asyncio.to_thread(_try_sandbox, settings, disk, real_cards)
    if not isinstance(found, Sandbox):
        if settings.sandbox == "bwrap":
            raise ProviderUnavailable(f"no sandbox: {found}", hint="mend it, or set sandbox to auto or none")
        why = f"instances run without a sandbox, their programs can read what this user can: {found}"
        return Launcher(settings.python, None), (why,)
    as_root = "the yard runs as root: programs of instances read /usr and /opt as root; give it a user"
    return Launcher(settings.python, found), (as_root,) if os.geteuid() == 0 else ()


def _try_sandbox(settings: LocalSettings, disk: Disk, real_cards: bool) -> Sandbox | str:
    place = disk.place("probe")
    try:
        return find_sandbox(place, settings.python, settings.data_dir / "etc", gpus=real_cards)
    finally:
        disk.retire(place)
