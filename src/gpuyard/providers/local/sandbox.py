"""The walls around an instance: bubblewrap, where this machine allows it.

Inside there is a root of its own, made of a list of what may be seen; nothing else of this machine is there, so there is
nothing to hide. Processes, IPC and the host name are its own; the network is this machine's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gpuyard
from gpuyard.providers.local.disk import Place
from gpuyard.resident.wire import Residence

STATUS_FD = 4
"""Where bubblewrap reports the pid of the sandbox's process 1."""
WALLS_FD = 5
"""Where it reads most of its arguments: on its command line, programs inside could read this machine's paths."""

_UID = 1000
_HOST_NAME = "gpuyard"
_RUN = Path("/run/gpuyard")
_STATE = Path("/var/lib/gpuyard")

_ETC = (
    *("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services", "protocols", "networks"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust", "crypto-policies"),
    *("localtime", "timezone", "locale.alias", "locale.conf", "default/locale"),
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "python3", "mime.types", "magic", "fonts"),
    *("profile", "profile.d", "bash.bashrc", "bashrc", "inputrc", "terminfo", "shells", "os-release", "debian_version"),
    *("pip.conf", "gitconfig", "OpenCL", "vulkan", "glvnd", "nvidia"),
)
"""What programs need of /etc: names and certificates on the network, time, libraries, shells. No accounts, no keys."""

_KERNEL = ("sys", "sysrq-trigger", "acpi", "asound", "driver", "fs", "mtrr", "pressure", "scsi")
"""Of /proc, what sets this machine's kernel. Its files belong to the host's root: where that is who runs the yard, a
program inside could write them without any capability, and by `sys/kernel/core_pattern` run anything outside."""

_USERS = f"root:x:0:0:root:/root:/usr/sbin/nologin\ncoder:x:{_UID}:{_UID}:coder:/home/coder:/bin/bash\n"
_GROUPS = f"root:x:0:\ncoder:x:{_UID}:\n"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A bubblewrap that was seen to work here."""

    bwrap: str
    etc: Path
    """Holds the passwd and group files of every instance."""
    gpus: bool
    """Whether instances see this machine's GPU devices."""

    def residence(self) -> Residence:
        """Where a resident lives, as it sees it itself."""
        return Residence(socket=str(_RUN / "s"), state=_STATE)

    def around(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside; it reads `walls` from WALLS_FD and reports to STATUS_FD."""
        return [self.bwrap, "--args", str(WALLS_FD), "--json-status-fd", str(STATUS_FD), "--", *argv]

    def walls(self, place: Place) -> bytes:
        """What is to be seen inside."""
        return b"".join(argument.encode() + b"\0" for argument in self._walls(place))

    def _walls(self, place: Place) -> Iterator[str]:
        yield from ("--unshare-user", "--uid", str(_UID), "--gid", str(_UID), "--cap-drop", "ALL")
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", _HOST_NAME)
        yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "--tmpfs", "/var/tmp")  # noqa: S108
        for name in _KERNEL:
            if (of_kernel := Path("/proc", name)).exists():
                yield from ("--ro-bind", str(of_kernel), str(of_kernel))
        yield from _system()
        for file in ("passwd", "group", "hostname"):
            yield from ("--ro-bind", str(self.etc / file), f"/etc/{file}")
        yield from ("--bind", str(place.tmp), "/tmp")  # noqa: S108
        yield from ("--bind", str(place.home), "/home/coder")
        yield from ("--bind", str(place.workspace), "/workspace")
        yield from ("--bind", str(place.state), str(_STATE))
        yield from ("--bind", str(place.run), str(_RUN))
        for path in _interpreters():
            yield from ("--ro-bind", str(path), str(path))
        if self.gpus:
            yield from ("--ro-bind", "/sys", "/sys")  # how the cards are connected, for NCCL
            for device in sorted(Path("/dev").glob("nvidia*")):
                yield from ("--dev-bind", str(device), str(device))
        yield from ("--remount-ro", "/", "--chdir", "/workspace")


def find_sandbox(place: Place, python: str, etc: Path, *, gpus: bool) -> Sandbox | str:
    """A sandbox that works here, or why none does. Tries it for real once, in the empty machine `place`."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed (Debian, Ubuntu, Fedora: the package `bubblewrap`)"
    etc.mkdir(mode=0o755, parents=True, exist_ok=True)
    for file, text in (("passwd", _USERS), ("group", _GROUPS), ("hostname", f"{_HOST_NAME}\n")):
        (etc / file).write_text(text)
    sandbox = Sandbox(bwrap, etc, gpus)
    place.prepare()
    try:
        command = [bwrap, *sandbox._walls(place), "--", python, "-I", "-S", "-c", "print('inside')"]
        tried = subprocess.run(
            command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run here: {error}"
    if tried.stdout.strip() != "inside":
        return f"bubblewrap does not work here: {tried.stderr.strip() or f'exit status {tried.returncode}'}"
    return sandbox


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in ("bin", "sbin", "lib", "lib64", "lib32", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    if Path("/opt").is_dir():
        yield from ("--ro-bind", "/opt", "/opt")
    for name in _ETC:
        real = Path("/etc", name).resolve()  # resolv.conf is often a link into /run, which is not there inside
        if real.exists():
            yield from ("--ro-bind", str(real), f"/etc/{name}")
    yield from ("--symlink", "/proc/self/mounts", "/etc/mtab")


def _interpreters() -> list[Path]:
    """The Python that runs residents and our own package, where /usr and /opt do not have them already."""
    package = Path(gpuyard.__file__).resolve().parent
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent, package]
    real = dict.fromkeys(path for path in needed if path.is_dir() and path != Path("/"))
    visible = [path for path in real if not any(path.is_relative_to(seen) for seen in ("/usr", "/opt"))]
    return [path for path in visible if not any(path != other and path.is_relative_to(other) for other in visible)]
