"""`python -m gpuyard.server`: serve one yard until told to stop. Exit statuses are in `exits.py`."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpuyard._version import __version__
from gpuyard.server.exits import CannotStart, Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers the exit status. What is wrong with the start is one line on stderr."""
    given = _parser().parse_args(arguments)
    try:
        return _run(given)
    except CannotStart as error:
        print(f"gpuyard: {error}", file=sys.stderr)  # noqa: T201  the promised line
        return error.exit_status


def _run(given: argparse.Namespace) -> int:
    gc.disable()  # `serve` turns it on again: collecting while a thousand modules load costs a tenth of the start
    # What can go wrong cheaply goes wrong before the expensive imports.
    from gpuyard.server.loading import load_settings, misspelled
    from gpuyard.server.place import alone, prepare

    settings = load_settings(_options(given), given.config)
    prepare(settings.data_directory)
    with alone(settings.data_directory):
        from gpuyard.server.app import Occasion, listen, serve
        from gpuyard.server.logs import set_up_logs

        set_up_logs(settings.log_level, settings.log_format)
        for line in misspelled():
            logging.getLogger("gpuyard.server").warning(line)
        occasion = Occasion(not given.no_credentials, given.ready_fd, given.idle_exit)
        with listen(settings) as listener:
            import uvloop

            uvloop.run(serve(settings, occasion, listener))
    return Exit.OK


def _options(given: argparse.Namespace) -> dict[str, Any]:
    """Only what was given: the rest is for the environment and the settings file to say."""
    names = ("host", "port", "home", "data", "database", "simulate")
    return {name: value for name in names if (value := getattr(given, name)) is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gpuyard.server",
        description="Serve one yard. Settings come from gpuyard.yaml, GPUYARD_* and these options, the later over the earlier.",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the settings file, else ./gpuyard.yaml or the one in the home"
    )
    parser.add_argument("--host", help="the address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="the port to listen on (8470); 0 takes a free one and prints it")
    parser.add_argument("--home", type=Path, metavar="DIR", help="holds credentials.json (~/.config/gpuyard)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data directory (`data` in the home)")
    parser.add_argument(
        "--database", metavar="URL", help="postgresql://… or sqlite:///… (a file in the data directory)"
    )
    parser.add_argument(
        "--simulate", metavar="SPEC", help="GPUs to pretend: nvidia-rtx-3090=2,nvidia-rtx-4090=1; `none`"
    )
    parser.add_argument(
        "--ready-fd", type=_descriptor, metavar="N", help="write one line of JSON there when ready, and close it"
    )
    parser.add_argument(
        "--idle-exit", type=_seconds, metavar="SECONDS", help="end when idle and without instances for so long"
    )
    parser.add_argument(
        "--no-credentials", action="store_true", help="do not write credentials.json; print the first key"
    )
    parser.add_argument("--version", action="version", version=f"gpuyard {__version__}")
    return parser


def _descriptor(text: str) -> int:
    number = int(text)
    try:
        os.fstat(number)
    except OSError:
        raise argparse.ArgumentTypeError(f"{number} is not an open file descriptor") from None
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 10**9:
        raise argparse.ArgumentTypeError("give a number of seconds above zero")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
