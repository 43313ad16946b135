"""A server started by hand, to see how it ends when it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.yards import SOURCE

DEADLINE_SECONDS = 60


def start(home: Path, *args: str, env: Mapping[str, str] | None = None, file: str | None = None) -> tuple[int, str]:
    """(exit status, stderr) of a start that is expected to fail. `file` becomes the settings file."""
    home.mkdir(parents=True, exist_ok=True)
    if file is not None:
        (home / "gpuyard.yaml").write_text(file)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    done = subprocess.run(
        [sys.executable, "-m", "gpuyard.server", "--home", str(home), *(args or ("--port", "0"))],
        env={**clean, "PYTHONPATH": str(SOURCE), "GPUYARD_PROVIDERS": '{"fake": {}}', **(env or {})},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr
