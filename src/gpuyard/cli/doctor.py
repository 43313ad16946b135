"""`gpuyard doctor`: is everything here that is needed, and if not, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from gpuyard.cli.failures import CliError, ExitStatus, failure_of
from gpuyard.cli.home import connect, data_directory, find_access, home
from gpuyard.cli.local_yard import missing_libraries, running_yard
from gpuyard.cli.options import Options
from gpuyard.cli.session import Session

DEFAULT_PORT = 8470
LITTLE_SPACE = 2 * 1024**3


class Level(StrEnum):
    GOOD = "good"
    WARNING = "warning"
    FATAL = "fatal"


MARKS = {Level.GOOD: "✓", Level.WARNING: "!", Level.FATAL: "✗"}


@dataclass(frozen=True)
class Finding:
    check: str
    level: Level
    text: str
    advice: str = ""


def examine(options: Options) -> Sequence[Finding]:
    return [finding for check in CHECKS for finding in check(options)]


def doctor(session: Session) -> int:
    """Check the set-up and say what to do."""
    findings = examine(session.options)
    fatal = any(finding.level is Level.FATAL for finding in findings)
    if session.options.as_json:
        session.screen.result({"ok": not fatal, "findings": [asdict(finding) for finding in findings]})
    for finding in findings:
        if session.options.quiet and finding.level is Level.GOOD:
            continue
        session.screen.line(f"{MARKS[finding.level]} {finding.check}: {finding.text}")
        if finding.advice:
            session.screen.line(f"    {finding.advice}")
    return ExitStatus.UNWELL if fatal else ExitStatus.OK


def _python(options: Options) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    return [Finding("python", Level.GOOD, f"{version} at {sys.executable}")]


def _git(options: Options) -> list[Finding]:
    found = shutil.which("git")
    if found is None:
        advice = "install git: programs in local instances expect it"
        return [Finding("git", Level.WARNING, "not found", advice)]
    return [Finding("git", Level.GOOD, found)]


def _sandbox(options: Options) -> list[Finding]:
    advice = (
        "local instances would see each other's files: install bubblewrap, and allow user namespaces to ordinary users"
    )
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return [Finding("sandbox", Level.WARNING, "bwrap is not installed", advice)]
    trial = [bwrap, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "true"]
    try:
        tried = subprocess.run(trial, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return [Finding("sandbox", Level.WARNING, "bwrap hangs", advice)]
    if tried.returncode != 0:
        said = (tried.stderr.strip().splitlines() or [f"status {tried.returncode}"])[-1]
        return [Finding("sandbox", Level.WARNING, f"bwrap does not work here: {said}", advice)]
    return [Finding("sandbox", Level.GOOD, "bwrap works")]


def _gpus(options: Options) -> list[Finding]:
    simulated = "local instances get simulated GPUs; for real ones install the NVIDIA driver"
    try:
        import pynvml
    except ImportError:
        return [Finding("gpus", Level.WARNING, "nvidia-ml-py is not installed", "pip install 'gpuyard[server]'")]
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return [Finding("gpus", Level.WARNING, "no NVIDIA GPU or driver on this machine", simulated)]
    return [Finding("gpus", Level.GOOD, f"{count} NVIDIA GPU{'s' if count != 1 else ''}")]


def _libraries(options: Options) -> list[Finding]:
    if missing := missing_libraries():
        advice = "only needed to run a yard here: pip install 'gpuyard[server]'"
        return [Finding("server", Level.WARNING, f"not installed: {', '.join(missing)}", advice)]
    return [Finding("server", Level.GOOD, "its libraries are installed")]


def _directories(options: Options) -> list[Finding]:
    found: list[Finding] = []
    for name, path in (("home", home()), ("data", data_directory())):
        nearest = next(parent for parent in (path, *path.parents) if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            advice = f"make {path} writable, or choose another with GPUYARD_{name.upper()}"
            found.append(Finding(name, Level.FATAL, f"{path} cannot be written", advice))
            continue
        found.append(Finding(name, Level.GOOD, f"{path} can be written"))
    return found


def _space(options: Options) -> list[Finding]:
    path = data_directory()
    nearest = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    text = f"{free / 1024**3:.1f} GiB free for the data directory"
    if free < LITTLE_SPACE:
        return [Finding("disk", Level.WARNING, text, "free some, or put the data elsewhere: gpuyard up --data PATH")]
    return [Finding("disk", Level.GOOD, text)]


def _port(options: Options) -> list[Finding]:
    running = running_yard(data_directory())
    if running is not None:
        return [Finding("port", Level.GOOD, f"a yard of yours runs at {running.url}")]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEFAULT_PORT))
        except OSError:
            advice = "gpuyard up --port 0 takes a free one"
            return [Finding("port", Level.WARNING, f"{DEFAULT_PORT} is in use by another program", advice)]
    return [Finding("port", Level.GOOD, f"{DEFAULT_PORT} is free")]


def _postgres(options: Options) -> list[Finding]:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return [Finding("postgresql", Level.GOOD, "not installed, and only needed for several servers")]
    return [Finding("postgresql", Level.GOOD, "its library is installed")]


def _yard(options: Options) -> list[Finding]:
    try:
        access = find_access(options)
    except CliError as error:
        return [Finding("yard", Level.FATAL, error.message, error.hint or "")]
    if access is None:
        advice = "gpuyard up --detach starts one; gpuyard run does so by itself; gpuyard login URL uses another's"
        return [Finding("yard", Level.WARNING, "none is known here", advice)]
    try:
        with connect(access) as client:
            me = client.me()
    except Exception as error:
        failure = failure_of(error)
        if failure.code == "connection_failed" and _is_ours(access.url):
            advice = "gpuyard up --detach starts it; gpuyard run does so by itself"
            return [Finding("yard", Level.WARNING, f"{access.url} does not run (from {access.source})", advice)]
        return [
            Finding("yard", Level.FATAL, f"{access.url} (from {access.source}): {failure.message}", failure.hint or "")
        ]
    return [
        Finding("yard", Level.GOOD, f"{access.url} answers, version {me.version}"),
        Finding("key", Level.GOOD, f"is {me.member.name}'s ({me.member.role}) of account {me.account.name}"),
    ]


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "http://localhost:")) and _has_data(data_directory())


def _has_data(path: Path) -> bool:
    return path.is_dir()


CHECKS: Sequence[Callable[[Options], list[Finding]]] = (
    _python,
    _git,
    _libraries,
    _sandbox,
    _gpus,
    _directories,
    _space,
    _port,
    _postgres,
    _yard,
)
