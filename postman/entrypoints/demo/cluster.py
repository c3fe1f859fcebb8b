"""The processes of the demonstration: a sandbox and workers, each a real `postman` command."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx
import orjson

from postman.errors import PostmanError

__all__ = ["Cluster", "DemoError", "environment_for"]

_PROVIDERS: Final = """\
[[provider]]
name = "sendgrid"
kind = "sendgrid"
base_url = "{sendgrid}"
api_key = "env:SENDGRID_API_KEY"
timeout = 2.0
look_up_after = 2.0

[[provider]]
name = "mailgun"
kind = "mailgun"
weight = 0
domain = "mg.example.org"
base_url = "{mailgun}"
api_key = "env:MAILGUN_API_KEY"
timeout = 2.0
look_up_after = 2.0
"""


_PATIENCE: Final = 12.0


class DemoError(PostmanError):
    """The demonstration could not be played."""


def environment_for(folder: Path, *, run: str, shards: int) -> tuple[dict[str, str], str]:
    """Return the environment of the demonstration's processes, and which backends it uses."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POSTMAN_")}
    has_emulators = bool(environ.get("PUBSUB_EMULATOR_HOST") and environ.get("FIRESTORE_EMULATOR_HOST"))
    environ |= {
        "POSTMAN_QUEUE": "pubsub:" if has_emulators else f"sqlite:{folder / 'demo.db'}",
        "POSTMAN_LEDGER": "firestore:" if has_emulators else f"sqlite:{folder / 'demo.db'}",
        "POSTMAN_PREFIX": f"demo-{run}",
        "POSTMAN_SHARDS": str(shards),
        "POSTMAN_PROVIDERS": str(folder / "providers.toml"),
        "POSTMAN_ACK_DEADLINE": "10",
        "POSTMAN_DOUBT_WINDOW": "5",
        "POSTMAN_HEALTH_WINDOW": "2",
        "SENDGRID_API_KEY": f"SG.{secrets.token_hex(8)}",
        "MAILGUN_API_KEY": f"key-{secrets.token_hex(8)}",
    }
    environ.setdefault("GOOGLE_CLOUD_PROJECT", "demo-postman")
    return environ, "the Pub/Sub and Firestore emulators" if has_emulators else "SQLite (no emulators were found)"


class Cluster:
    """Starts processes and ends them all, by their ids, when it is left."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = dict(environ)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._client = httpx.AsyncClient(timeout=10.0, trust_env=False)
        self.url = ""
        """The sandbox's page."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            process.terminate()
        try:
            await asyncio.wait_for(asyncio.gather(*(process.wait() for process in running)), _PATIENCE)
        except TimeoutError:
            for process in running:
                if process.returncode is None:
                    process.kill()

    async def start_console(self) -> str:
        """Start the console; return the address by which one may also act there."""
        process = await self._start("console", "console", "--json", "--port", "0", stdout=asyncio.subprocess.PIPE)
        ready = await self._ready(process, "console")
        return str(ready["login_url"])

    async def start_sandbox(self) -> None:
        """Start the sandbox, and write the providers' document that points to it."""
        keys = ("--sendgrid-key", self._environ["SENDGRID_API_KEY"], "--mailgun-key", self._environ["MAILGUN_API_KEY"])
        ports = ("--port", "0", "--sendgrid-port", "0", "--mailgun-port", "0")
        process = await self._start("sandbox", "sandbox", "--json", *ports, *keys, stdout=asyncio.subprocess.PIPE)
        ready = await self._ready(process, "sandbox")
        self.url = ready["url"]
        document = _PROVIDERS.format(sendgrid=ready["sendgrid_url"], mailgun=ready["mailgun_url"])
        (self._folder / "providers.toml").write_text(document, encoding="utf-8")

    async def _ready(self, process: asyncio.subprocess.Process, name: str) -> dict[str, Any]:
        """Return what a process says when it is ready."""
        assert process.stdout is not None  # noqa: S101 — asked for when it was started
        line = await asyncio.wait_for(process.stdout.readline(), 20.0)
        if not line:
            raise DemoError(f"the {name} did not start; see {self._folder / f'{name}.log'}")
        told: dict[str, Any] = orjson.loads(line)
        return told

    async def start_worker(self, name: str) -> None:
        await self._start(name, "worker")

    async def wait_for_workers(self, *names: str) -> None:
        """Return when the workers have said that they started."""
        async with asyncio.timeout(30.0):
            while not all(b"worker_started" in self._log(name) for name in names):  # noqa: ASYNC110 — another process
                await asyncio.sleep(0.1)

    async def kill(self, name: str) -> None:
        """End a process as a power failure would."""
        process = self._processes[name]
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self, name: str) -> int:
        """Let a process drain; return its exit status."""
        process = self._processes[name]
        process.terminate()
        return await asyncio.wait_for(process.wait(), 15.0)

    async def set_fault(self, provider: str, faults: list[dict[str, Any]]) -> None:
        answer = await self._client.put(f"{self.url}/api/faults/{provider}", json=faults)
        if answer.is_error:
            raise DemoError(f"the sandbox refused a fault: {answer.text}")

    async def accepted(self) -> dict[str, Any]:
        """Return what the sandbox accepted: its own count, not ours."""
        answer = await self._client.get(f"{self.url}/api/mails")
        answer.raise_for_status()
        document: dict[str, Any] = orjson.loads(answer.content)
        return document

    def events(self, event: str) -> set[str]:
        """Return the ids of the mails about which the workers logged *event*."""
        found = set()
        for name in self._processes:
            for line in self._log(name).splitlines():
                if event.encode() in line and line.startswith(b"{"):
                    found.add(str(orjson.loads(line).get("mail_id", "")))
        return found

    def _log(self, name: str) -> bytes:
        return (self._folder / f"{name}.log").read_bytes()

    async def _start(self, name: str, *command: str, stdout: int | None = None) -> asyncio.subprocess.Process:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "postman",
                *command,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
            )
        self._processes[name] = process
        return process
