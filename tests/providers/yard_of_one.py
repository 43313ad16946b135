"""A server reduced to its provider, as a process of its own that can be killed: `yard_of_one.py DATA_DIR SANDBOX POOL`.

Reads one JSON order per line and answers one line when it is accepted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pydantic import TypeAdapter

from gpuyard.catalogue import load_catalogue
from gpuyard.domain.errors import YardError
from gpuyard.ports.provider import Order
from gpuyard.providers.local.provider import LocalProvider
from gpuyard.providers.local.settings import LocalSettings

ORDER = TypeAdapter(Order)


async def main(data_dir: str, sandbox: str, pool: str) -> None:
    settings = LocalSettings(data_dir=Path(data_dir), sandbox=sandbox, warm_pool=int(pool))  # type: ignore[arg-type]
    provider = LocalProvider(settings, load_catalogue())
    await provider.open()
    _say("open")
    while line := await asyncio.to_thread(sys.stdin.readline):
        ask = json.loads(line)
        order = ORDER.validate_python(ask["order"])
        try:
            await getattr(provider, ask["verb"])(order if ask["verb"] in ("order", "start") else order.instance_id)
        except YardError as error:
            _say(error.code)
        else:
            _say("accepted")
    await provider.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
