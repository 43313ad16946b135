"""What a program in the instance finds: its directories, its own Python environment, its variables.

The Python environment is laid out by hand rather than by the `venv` module, because an instance must be ready in
milliseconds: it is a directory with a `pyvenv.cfg`, a link to the interpreter, and one `.pth` file by which everything
of the resident's own environment can be imported too. `pip install` writes into it alone, and what is installed there is
found first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import site
import stat
import sys
import sysconfig
from collections import Counter
from pathlib import Path

from gpuyard.resident import nvidia_smi
from gpuyard.resident.paths import Places
from gpuyard.resident.wire import Assignment, Residence

_INHERITED = (
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"),
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""All that a program gets of the machine's own variables; everything else may hold a secret of the machine."""

_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_CUDA_PATH = ("/usr/local/nvidia/bin", "/usr/local/cuda/bin")


def python_of(residence: Residence) -> Path:
    """The interpreter of the instance's own environment, for kernels and for detached Python."""
    return _python_home(Places.of(residence)) / "bin" / "python"


def prepare(residence: Residence, assignment: Assignment | None = None) -> None:
    """Make the instance's directories, its Python environment and its stand-ins. Twice does no harm.

    Without an assignment, all that does not depend on one: what a warm resident can do ahead.
    """
    places = Places.of(residence)
    for directory in (places.workspace, places.home, places.tmp):
        directory.mkdir(parents=True, exist_ok=True)
    _link(places.home / "workspace", os.path.relpath(places.workspace, places.home))
    _lay_out_python(_python_home(places))
    if assignment is not None:
        _lay_out_stand_ins(places, assignment)
        _keep_path_in_login_shells(places, assignment)


def program_environment(residence: Residence, assignment: Assignment | None) -> dict[str, str]:
    """The variables of every program of the instance; the customer's own `env` has the last word.

    Never has a secret of the resident or of the machine in it. Before a warm resident has its instance, what is common
    to all instances.
    """
    places = Places.of(residence)
    gpus = assignment.gpus if assignment else []
    indexes = ",".join(str(gpu.index) for gpu in gpus)
    common = {
        "LANG": "C.UTF-8",
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "PATH": _path(places, assignment),
        "HOME": str(places.home),
        "TMPDIR": str(places.tmp),
        "USER": "coder",
        "LOGNAME": "coder",
        "SHELL": "/bin/bash",
        "VIRTUAL_ENV": str(_python_home(places)),
        "PYTHONUNBUFFERED": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # else CUDA counts the cards by speed and the indexes mean others
        "CUDA_VISIBLE_DEVICES": indexes,
        "NVIDIA_VISIBLE_DEVICES": indexes or "none",
    }
    if assignment is None:
        return common
    kinds = Counter(gpu.slug for gpu in gpus)
    return {
        **common,
        "GPUYARD_INSTANCE_ID": assignment.instance_id,
        "GPUYARD_INSTANCE_NAME": assignment.name,
        "GPUYARD_GPUS": ",".join(f"{slug}:{count}" for slug, count in kinds.items()),
        **assignment.env,
    }


def _own(places: Places) -> Path:
    return places.home / ".gpuyard"


def _python_home(places: Places) -> Path:
    return _own(places) / "python"


def _stand_ins(places: Places) -> Path:
    return _own(places) / "bin"


def _simulates(assignment: Assignment | None) -> bool:
    return assignment is not None and any(gpu.simulated for gpu in assignment.gpus)


def _path(places: Places, assignment: Assignment | None) -> str:
    if assignment is not None and "PATH" in assignment.env:
        return assignment.env["PATH"]
    front = [_python_home(places) / "bin", places.home / ".local" / "bin"]
    if _simulates(assignment):
        front.insert(0, _stand_ins(places))
    return os.pathsep.join([*map(str, front), *(path for path in _CUDA_PATH if Path(path).is_dir()), *_SYSTEM_PATH])


def _lay_out_python(home: Path) -> None:
    base = Path(sys._base_executable if hasattr(sys, "_base_executable") else sys.executable).resolve()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (home / "bin").mkdir(exist_ok=True)
    cfg = {"home": base.parent, "include-system-site-packages": "false", "version": sys.version.split()[0]}
    _write(home / "pyvenv.cfg", "".join(f"{key} = {value}\n" for key, value in cfg.items()))
    for name in ("python", "python3", f"python{version}"):
        _link(home / "bin" / name, str(base) if name == "python" else "python")
    _write(packages / "_gpuyard.pth", _borrowed_packages())
    for name in ("pip", "pip3"):
        _write(home / "bin" / name, f'#!/bin/sh\n{_pip()} "$@"\n', executable=True)


def _borrowed_packages() -> str:
    """Lines of a .pth file. `addsitedir` rather than a bare path, so that .pth files over there count as well."""
    borrowed = [path for path in _site_directories() if Path(path).is_dir()]
    lines = [f"import site; site.addsitedir({path!r})" for path in borrowed]
    ourselves = str(Path(__file__).resolve().parents[2])
    return "\n".join([*lines, *([ourselves] if ourselves not in borrowed else [])]) + "\n"


def _site_directories() -> list[str]:
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return list(dict.fromkeys([*site.getsitepackages(), sysconfig.get_path("purelib"), *user]))


def _pip() -> str:
    if importlib.util.find_spec("pip") is not None:
        return 'exec "${0%/*}/python" -m pip'
    ensurepip = importlib.util.find_spec("ensurepip")
    bundled = sorted(Path(ensurepip.origin).parent.glob("_bundled/pip-*.whl")) if ensurepip and ensurepip.origin else []
    if bundled:  # an environment made without pip: the wheel that Python brings along can run as it is
        return f'exec "${{0%/*}}/python" "{bundled[-1]}/pip"'
    return 'echo "pip is not there: the yard\'s own Python environment has neither pip nor ensurepip" >&2; exit 1; :'


def _lay_out_stand_ins(places: Places, assignment: Assignment) -> None:
    program = _stand_ins(places) / "nvidia-smi"
    if not _simulates(assignment):
        program.unlink(missing_ok=True)
        return
    program.parent.mkdir(parents=True, exist_ok=True)
    cards = [gpu.model_dump() for gpu in assignment.gpus]
    _write(program.parent / nvidia_smi.CARDS_FILE, json.dumps(cards))
    interpreter = Path(sys.executable).resolve()
    # -I -S: without the site module and its .pth files it starts in a third of the time
    script = f'#!/bin/sh\nexec "{interpreter}" -I -S "{nvidia_smi.__file__}" "${{0%/*}}" "$@"\n'
    _write(program, script, executable=True)


def _keep_path_in_login_shells(places: Places, assignment: Assignment) -> None:
    """A login shell reads /etc/profile, which on most systems sets PATH anew: put ours back afterwards."""
    path = _path(places, assignment).replace("'", "'\\''")
    _write(_own(places) / "profile", f"export PATH='{path}'\n")
    customers = [places.home / name for name in (".bash_profile", ".bash_login", ".profile")]
    if not any(file.exists() for file in customers):
        lines = ("[ -r ~/.gpuyard/profile ] && . ~/.gpuyard/profile", "[ -r ~/.bashrc ] && . ~/.bashrc", "true")
        customers[0].write_text("\n".join(lines) + "\n")


def _link(at: Path, target: str) -> None:
    """Make the link. What a customer put there in its place stays; an outdated link of ours is replaced."""
    try:
        if at.is_symlink() and str(at.readlink()) != target:
            at.unlink()
        at.symlink_to(target)
    except FileExistsError:
        pass


def _write(file: Path, text: str, *, executable: bool = False) -> None:
    """Write a small file unless it says so already, at once or not at all."""
    if file.is_file() and file.read_text() == text:
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(text)
    if executable:
        draft.chmod(draft.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    draft.replace(file)
