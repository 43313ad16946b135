"""How JupyterLab is started as an application of the instance."""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

from gpuyard.resident.environment import python_of
from gpuyard.resident.paths import Places
from gpuyard.resident.wire import Residence

NAME = "jupyterlab"


def command(residence: Residence, socket: str, base_url: str) -> tuple[list[str], dict[str, str]]:
    """The program and what it needs in its environment.

    It runs in the instance's own Python environment, so that extensions and kernels that are installed there are
    found. Its own guards against strangers are off: only the resident can reach its socket, and who may reach the
    resident was checked before.
    """
    options = {
        "ServerApp.sock": socket,
        "ServerApp.sock_mode": "0600",
        "ServerApp.base_url": base_url,
        "ServerApp.root_dir": str(Places.of(residence).workspace),
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.allow_remote_access": True,
        "ServerApp.allow_origin": "*",
        "ServerApp.disable_check_xsrf": True,
        "ServerApp.terminals_enabled": True,
        "IdentityProvider.token": "",
        "PasswordIdentityProvider.hashed_password": "",
        "LabApp.news_url": "None",  # it would ask a host outside
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    }
    argv = [str(python_of(residence)), "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    return argv, _where_it_is_installed()


def _where_it_is_installed() -> dict[str, str]:
    """Its pages and settings lie in the resident's environment, which is not the one that it runs in."""
    prefixes = list(dict.fromkeys(filter(None, (sys.prefix, site.USER_BASE, sys.base_prefix))))
    lab = next((path for prefix in prefixes if (path := Path(prefix) / "share/jupyter/lab").is_dir()), None)
    env = {
        "JUPYTER_PATH": os.pathsep.join(f"{prefix}/share/jupyter" for prefix in prefixes),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(f"{prefix}/etc/jupyter" for prefix in prefixes),
    }
    return {**env, "JUPYTERLAB_DIR": str(lab)} if lab else env
