"""Log lines: one JSON object each for machines, coloured text for people. All of it goes to stderr."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

_QUIET = ("httpx", "httpcore", "websockets", "uvicorn.error", "alembic", "asyncio")
"""Their everyday lines are noise beside ours; their warnings are not."""


def set_up_logs(level: str, format: str) -> None:
    """Send everything that is logged, ours and the libraries', through one formatter."""
    people = format == "console" or (format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
