"""JupyterHub with its local process spawner, from public packages in a folder of its own: the peer of a ready instance."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.processes import end, free_port

PEERS = Path(__file__).parent / "peers"
VENV = PEERS / "jupyterhub"
PROXY = PEERS / "node_modules" / ".bin" / "configurable-http-proxy"

CONFIG = """
c.JupyterHub.ip = "127.0.0.1"
c.JupyterHub.port = {port}
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.spawner_class = "simple"  # the local process spawner for a hub that need not be root
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.Spawner.args = ["--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "list:users"]}}
]
c.JupyterHub.log_level = "WARN"
"""


@dataclass(frozen=True)
class Hub:
    url: str
    token: str

    async def server_ready(self) -> float:
        """Seconds from asking for a new user's server to the hub saying that it is ready."""
        user = f"u{secrets.token_hex(4)}"
        async with httpx.AsyncClient(
            base_url=f"{self.url}/hub/api", headers={"authorization": f"token {self.token}"}, timeout=120
        ) as client:
            (await client.post(f"/users/{user}")).raise_for_status()
            began = time.perf_counter()
            (await client.post(f"/users/{user}/server")).raise_for_status()
            while (
                not (await client.get(f"/users/{user}")).raise_for_status().json()["servers"].get("", {}).get("ready")
            ):
                await asyncio.sleep(0.01)
            seconds = time.perf_counter() - began
            (await client.delete(f"/users/{user}/server")).raise_for_status()
            while (await client.get(f"/users/{user}")).raise_for_status().json()["servers"]:
                await asyncio.sleep(0.05)
            return seconds


@asynccontextmanager
async def a_hub() -> AsyncIterator[Hub]:
    await _install()
    port, hub_port, api_port = free_port(), free_port(), free_port()
    token = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="gpuyard-bench-") as scratch:
        config = Path(scratch, "jupyterhub_config.py")
        home = str(Path(scratch, "{username}"))
        config.write_text(
            CONFIG.format(port=port, hub_port=hub_port, api_port=api_port, proxy=[str(PROXY)], home=home, token=token)
        )
        log = Path(scratch, "hub.log")
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                str(VENV / "bin" / "jupyterhub"),
                "--config",
                str(config),
                cwd=scratch,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"},
            )
        try:
            async with httpx.AsyncClient() as client:
                for _ in range(600):
                    if await _is_up(client, f"http://127.0.0.1:{port}/hub/health"):
                        break
                    await asyncio.sleep(0.1)
                else:
                    raise RuntimeError(f"JupyterHub did not start:\n{log.read_text()[-2000:]}")
            yield Hub(f"http://127.0.0.1:{port}", token)
        finally:
            await end(process)


async def _is_up(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.TransportError:
        return False


async def _install() -> None:
    """Get JupyterHub and its proxy by pip and npm, once."""
    PEERS.mkdir(exist_ok=True)
    if not (VENV / "bin" / "jupyterhub").exists():
        await _do(sys.executable, "-m", "venv", str(VENV))
        await _do(str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "jupyterhub", "jupyterlab")
    if not PROXY.exists():
        await _do("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(PEERS), PROXY.name)


async def _do(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError(f"failed: {' '.join(argv)}")
