"""A server that is killed and started again is a pause, no more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.sdk.manners import open_client
from tests.yards import start_yard


async def test_following_and_waiting_go_on_over_a_killed_server(manner: str, tmp_path: Path) -> None:
    yard = start_yard(tmp_path)
    port = str(urlsplit(yard.url).port)
    try:
        async with open_client(manner, yard.url, yard.key) as client:
            instance = await client.instances.create()
            await instance.wait_until_running(60)
            execution = await instance.submit(
                "echo before; while [ ! -e go ]; do sleep 0.05; done; seq 1 2000; echo after"
            )
            heard = asyncio.Event()
            loop = asyncio.get_running_loop()

            def listen(_: Any) -> None:
                loop.call_soon_threadsafe(heard.set)

            following = asyncio.create_task(waited(execution, listen))
            await asyncio.wait_for(heard.wait(), 60)
            yard.kill()
            stopping = asyncio.create_task(stopped(instance))
            yard = await asyncio.to_thread(start_yard, tmp_path, args=["--port", port])
            await instance.files.write("go", "")

            result = await asyncio.wait_for(following, 120)
            await stopping

        assert result.stdout == "before\n" + "".join(f"{n}\n" for n in range(1, 2001)) + "after\n"
        assert result.ok
    finally:
        yard.close()


async def waited(execution: Any, listen: Any) -> Any:
    return await execution.wait(on_stdout=listen)


async def stopped(instance: Any) -> None:
    """A waiter that looks while nobody is there."""
    await instance.wait_until("running", timeout=60)
