"""`python -m tests.incidents [NAME…]`: plays incidents on the emulators by the runbook's words, with the times."""

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.incidents.plays import Played, ledger_slow, poison_storm, provider_down

_LATE: Final = 60.0
"""Seconds within which it must be understood what is wrong."""


async def _play(name: str) -> Played:
    with TemporaryDirectory() as folder:
        match name:
            case "provider_down":
                return await provider_down(Path(folder), _say)
            case "poison_storm":
                return await poison_storm(Path(folder), _say)
            case _:
                return await ledger_slow(Path(folder), _say, os.environ["FIRESTORE_EMULATOR_HOST"])


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 — a command's output


def main(names: list[str]) -> int:
    """Play them; return 1 where a mail was lost or doubled, or somebody understood too late."""
    broken = False
    for name in names or ["provider_down", "poison_storm", "ledger_slow"]:
        _say(f"== {name}")
        played = asyncio.run(_play(name))
        times = ", ".join(f"{moment} {seconds:.1f} s" for moment, seconds in played.times.items())
        _say(f"{name}: {times}; {played.published} published, lost {played.lost}, doubled {played.doubled}")
        broken |= bool(played.lost or played.doubled) or played.times["understood"] > _LATE
    return int(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
