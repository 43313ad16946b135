"""What every instance pays for at its start, and what only those pay for that use it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.resident.running import SOURCE


@pytest.mark.parametrize("heavy", ["httpcore", "httpx", "websockets.asyncio.client", "jupyter_client", "zmq"])
def test_a_resident_starts_without_what_only_some_instances_need(heavy: str) -> None:
    program = f"import gpuyard.resident.serving, sys; print({heavy!r} in sys.modules)"

    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == "False\n"
