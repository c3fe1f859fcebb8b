"""Whoever is on call: types what the runbook says, and nothing else; keeps the time."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Final

from postman.testing.waiting import wait_until
from tests.incidents.runbook import RUNBOOK, Runbook, command_of
from tests.system.town import POSTMAN, Town

__all__ = ["Operator"]

_SHOWN: Final = 6
"""Lines of an answer that the transcript keeps."""


class Operator:
    """One incident: `begins` when the fault is there, and a transcript with the seconds since then."""

    def __init__(self, town: Town, say: Callable[[str], None]) -> None:
        self._town = town
        self._say = say
        self._book = Runbook(RUNBOOK.read_text(encoding="utf-8"))
        self._began = time.monotonic()
        self.times: dict[str, float] = {}
        """Seconds from the fault to each moment that was marked."""

    def begin(self, fault: str) -> None:
        """The fault is there from now on; nobody knows yet."""
        self._began = time.monotonic()
        self._tell(fault)

    def mark(self, moment: str, words: str = "") -> None:
        """Keep the time of *moment*."""
        self.times[moment] = time.monotonic() - self._began
        self._tell(f"[{moment}] {words}" if words else f"[{moment}]")

    async def alerted(self, section: str, event: str, *, within: float) -> None:
        """Wait for the log's line on which the alert of that name rests."""
        needle = f'"{event}"'.encode()
        await wait_until(lambda: needle in self._town.logs(), within=within, every=0.2, what=f"the log says {event}")
        self.mark("alert", f"{section}: the workers' log has {event}")

    async def run(self, section: str, words: str, *, answer: str = "", **given: str) -> str:
        """Type the command *words*, which must stand in *section* of the runbook, and *answer* what it asks.

        Returns what it prints.
        """
        assert words in self._book.commands(section), f"the runbook's {section} does not say `{words}`"
        arguments = command_of(words, given)
        done = await asyncio.to_thread(
            subprocess.run,
            [*POSTMAN, *arguments],
            env=self._town.environ,
            input=answer.encode(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        printed = (done.stdout + done.stderr).decode()
        self._tell("$ postman " + " ".join(arguments))
        lines = [line for line in printed.splitlines() if line.strip()]
        for line in lines[:_SHOWN]:
            self._say(f"          {line[:150].rstrip()}")
        if len(lines) > _SHOWN:
            self._say(f"          … {len(lines) - _SHOWN} more lines")
        return printed

    def reads(self, section: str, words: str) -> None:
        """Hold the runbook to *words* on which the operator acts."""
        assert self._book.says(section, words), f"the runbook's {section} does not say: {words}"
        self._tell(f"reads {section}: {' '.join(words.split())}")

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]], *, within: float, moment: str) -> None:
        """Wait until *holds*, and mark the *moment*."""
        await wait_until(holds, within=within, every=0.5, what=what)
        self.mark(moment, what)

    def _tell(self, words: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f} s  {words}")
