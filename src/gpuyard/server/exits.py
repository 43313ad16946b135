"""Why a server does not start, with one exit status per kind of reason."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What `python -m gpuyard.server` ends with."""

    OK = 0
    """It was told to stop, or `--idle-exit` had its way."""
    BUG = 1
    """Something nobody foresaw; the traceback is on stderr."""
    SETTINGS = 2
    """A wrong option, environment variable or settings file."""
    DATA_DIRECTORY = 3
    """The data directory cannot be made, read or written, or its disk is full."""
    LOCKED = 4
    """Another server uses the data directory."""
    ADDRESS = 5
    """The port is in use, or the host is not an address of this machine."""
    DATABASE = 6
    """The database does not answer, or holds what this version cannot use."""
    PROVIDER = 7
    """A provider cannot be opened."""


class CannotStart(Exception):
    """Ends the start with one line on stderr: what is wrong, and what to do about it."""

    def __init__(self, exit_status: Exit, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.exit_status = exit_status
