"""`python -m tests.chaos`: a long chaos run, its figures, and exit status 1 where a promise was broken."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from postman.core.mail import OnDoubt
from tests.chaos.report import document, table
from tests.chaos.run import Plan, Run, play


def main() -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args()
    plan = Plan(
        mails=options.mails,
        kills=options.kills,
        stops=options.stops,
        lost_replies=options.lost_replies,
        freezes=options.freezes,
        cuts=options.cuts,
        on_doubt=OnDoubt(options.on_doubt),
        can_be_asked=not options.cannot_be_asked,
        seed=options.seed,
    )
    with TemporaryDirectory() as folder:
        figures = document(asyncio.run(_play(plan, options.folder or Path(folder))))
    print(table(figures))  # noqa: T201 — a command's output
    if options.json:
        options.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
    return 1 if figures["broken"] else 0


async def _play(plan: Plan, folder: Path) -> Run:
    """Play *plan*; a signal ends the run, and every process of it."""
    playing = asyncio.ensure_future(play(plan, folder))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    return await playing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=40, help="workers that are killed")
    parser.add_argument("--stops", type=int, default=10, help="workers that are told to drain")
    parser.add_argument("--lost-replies", type=int, default=500, help="at each of Pub/Sub and Firestore")
    parser.add_argument("--freezes", type=int, default=6, help="times an emulator stands still")
    parser.add_argument("--cuts", type=int, default=20, help="times all connections to a service are cut")
    parser.add_argument("--on-doubt", choices=list(OnDoubt), default=OnDoubt.ASK)
    parser.add_argument("--cannot-be-asked", action="store_true", help="the providers have no look-up")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--folder", type=Path, help="keep the processes' logs there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
