"""Processes of ours: each is a `postman` command, and all end with the scene, by their ids."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from postman.testing.emulators import _leash
from postman.testing.waiting import wait_until

__all__ = ["ROOT", "Processes", "clean_environment"]

ROOT: Final = Path(__file__).parents[2]

_PATIENCE: Final = 20.0
_LEASH: Final = (sys.executable, "-I", "-S", _leash.__file__)
"""They die with us, however we end."""


def clean_environment() -> dict[str, str]:
    """Return the environment without anybody's settings of postman."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("POSTMAN_", "CHAOS_"))}


class Processes:
    """Starts commands with their output in *folder*; names are used once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            process.kill()
        await asyncio.gather(*(process.wait() for process in running))

    async def start(self, name: str, *command: str, environ: Mapping[str, str]) -> None:
        with self.log(name).open("wb") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *_LEASH,
                str(os.getpid()),
                sys.executable,
                "-m",
                "postman",
                *command,
                env=dict(environ),
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def has_ended(self, name: str) -> bool:
        return self._processes[name].returncode is not None

    async def wait(self, name: str) -> int:
        """Return the exit status once it has ended."""
        return await asyncio.wait_for(self._processes[name].wait(), _PATIENCE)

    async def stop(self, name: str) -> int:
        """Let it drain, if it still runs; return its exit status."""
        process = self._processes[name]
        if process.returncode is None:
            process.terminate()
        return await self.wait(name)

    async def wait_for(self, name: str, event: str) -> None:
        """Return when it has logged *event*."""
        await wait_until(lambda: event.encode() in self.log(name).read_bytes(), within=60.0, every=0.1, what=event)

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
