"""The synchronous client is what the script makes of the asynchronous one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate_sync.py"
_spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
assert _spec is not None and _spec.loader is not None
generate_sync = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate_sync)


def test_the_committed_half_is_fresh() -> None:
    run = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")


def test_only_what_is_asynchronous_changes() -> None:
    written = '''class AsyncThing:
    """Awaits nothing. With `async with AsyncThing()`, or `await thing.aclose()`."""

    async def __aenter__(self) -> AsyncIterator[int]:  # an AsyncThing
        async with self.asynchronous as it:
            return [x async for x in await _io.async_sleep(it)]
'''

    assert (
        generate_sync.to_sync(written)
        == '''class Thing:
    """Awaits nothing. With `with Thing()`, or `thing.close()`."""

    def __enter__(self) -> Iterator[int]:  # an Thing
        with self.asynchronous as it:
            return [x for x in _io.sync_sleep(it)]
'''
    )
