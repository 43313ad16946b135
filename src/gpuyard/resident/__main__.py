"""`python -m gpuyard.resident --config FILE`: the server inside an instance."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from gpuyard.resident.wire import ResidentConfig


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gpuyard.resident", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a ResidentConfig as JSON")
    path: Path = parser.parse_args().config
    try:
        config = ResidentConfig.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        print(f"cannot use the configuration {path}: {error}", file=sys.stderr)  # noqa: T201
        return 2

    from gpuyard.resident.serving import serve

    try:
        asyncio.run(serve(config))
    except OSError as error:
        print(f"cannot serve: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
