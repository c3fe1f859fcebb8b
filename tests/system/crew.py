"""Workers that some mails end, started anew when they end, as a platform does."""

import asyncio
import sys
from pathlib import Path
from typing import Self

from tests.system.town import Town

__all__ = ["Crew"]

_ROOT = Path(__file__).parents[2]


class Crew:
    """See the module; it counts how often they ended."""

    def __init__(self, town: Town, count: int) -> None:
        self._town = town
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._is_over = False
        self.ends: list[int] = []
        """How each ended that did so by itself."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.ensure_future(self._keep(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        await asyncio.wait_for(asyncio.gather(*self._tasks), 20.0)

    def children(self) -> set[int]:
        """Return the processes that the workers of now made."""
        found: set[int] = set()
        for process in self._processes.values():
            listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            found |= {int(pid) for pid in listing.read_text().split()} if listing.exists() else set()
        return found

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self._town.folder.glob("crew-*.log")))

    async def _keep(self, number: int) -> None:
        while not self._is_over:
            with (self._town.folder / f"crew-{number}.log").open("ab") as log:
                process = self._processes[number] = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.system.deadly_worker"),
                    env={**self._town.environ, "PYTHONPATH": str(_ROOT)},
                    cwd=_ROOT,
                    stderr=log,
                )
            status = await process.wait()
            if not self._is_over:
                self.ends.append(status)
