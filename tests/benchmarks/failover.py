"""A provider that goes down under load: how soon it is left, what that costs, and when all are home again.

    python -m tests.benchmarks.failover --mails 9000

Real processes (three workers, the sandbox), on the emulators where they can be had, else on SQLite.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from postman.testing.emulators import Emulators
from tests.system.outage import Outage, Played, play

__all__ = ["main"]

_OUTAGES = (
    Outage("down", seconds=8.0),
    Outage("refuse", seconds=8.0),
    Outage("hang", seconds=8.0, only_sends=True),
)
_COURSE = 75.0
"""Seconds that all takes together, about."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=9_000, help="about how many, in the hundred seconds that it takes")
    wanted = parser.parse_args()
    with TemporaryDirectory() as folder:
        _run(Path(folder), wanted.mails)


def _run(folder: Path, mails: int) -> None:
    with Emulators.start(log_dir=folder) as emulators:
        os.environ.update(emulators.environment)
        missing = ", ".join(emulators.missing)
        _say(f"on SQLite (no emulator for {missing})" if missing else "on the emulators")
        began = perf_counter()
        played = asyncio.run(play(folder, _OUTAGES, per_second=mails / _COURSE))
        _print(played, perf_counter() - began)


def _print(played: Played, took: float) -> None:
    for figures in played.figures:
        _say(str(figures))
    count = len(played.published)
    _say(f"{count} mails in {took:.0f} s: {len(played.lost)} lost, {len(played.doubled)} sent twice")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
