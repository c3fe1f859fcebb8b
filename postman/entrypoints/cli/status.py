"""`postman status`: the workers, the providers as they see them, and how the fleet does."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Final

import typer
from rich.table import Table

from postman.config import Settings
from postman.core.fleet.health import Health
from postman.entrypoints.backlog import Gauge, Waiting, backlog_document
from postman.entrypoints.cli.layouts import latest_layout
from postman.entrypoints.cli.output import OUT, moment, plain, print_json, without_password
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.cli.watching import Page, print_page, watch
from postman.entrypoints.fleet import LOOK_BACK, Fleet, ProviderLine, WorkerLine, fleet_of
from postman.entrypoints.hour import Hour, hour_document, hour_of
from postman.entrypoints.shelves import Shelved, look_at_shelves
from postman.ports.records import Records
from postman.ports.roster import Roster
from postman.wiring import open_backlogs, open_records, open_roster, system_clock

__all__ = ["status"]

_STYLES: Final = {
    Health.OK: "green",
    Health.SLOW: "bold red",
    Health.STALLED: "bold red",
    Health.IDLE_WITH_BACKLOG: "bold yellow",
    Health.UNKNOWN: "dim",
    Health.LEAVING: "yellow",
}


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is seen at a moment."""

    fleet: Fleet
    waiting: Waiting
    hour: Hour
    shelved: Shelved


@dataclass(frozen=True, slots=True)
class _Lookout:
    """Where to look; without a *roster* nobody reports."""

    roster: Roster | None
    records: Records | None
    gauge: Gauge
    shards: Sequence[int]

    async def look(self) -> _Sight:
        now = time.time()
        reports = await self.roster.reports(now - LOOK_BACK) if self.roster else ()
        waiting, shelved = await asyncio.gather(self.gauge.look(self.shards, reports), look_at_shelves(self.records))
        return _Sight(fleet_of(reports, now), waiting, hour_of(reports, now), shelved)


@asynccontextmanager
async def _lookout(chosen: Settings) -> AsyncIterator[_Lookout]:
    roster, records = open_roster(chosen), open_records(chosen)
    gauge = Gauge(open_backlogs(chosen), system_clock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(gauge.aclose)
        if roster is not None:
            stack.push_async_callback(roster.aclose)
        if records is not None:
            stack.push_async_callback(records.aclose)
        yield _Lookout(roster, records, gauge, range((await latest_layout(chosen)).top))


def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line (with --watch: one every two seconds).")] = (
        False
    ),
    watched: Annotated[bool, typer.Option("--watch", help="Look every two seconds until Ctrl-C.")] = False,
) -> None:
    """Show the workers and their health, the providers and their breakers, how the fleet does, and what waits.

    Exit status 1 if the ledger's store cannot be reached.
    """
    asyncio.run(_show(settings(), json=json, watched=watched))


async def _show(chosen: Settings, *, json: bool, watched: bool) -> None:
    async with _lookout(chosen) as lookout:
        sight = await lookout.look()
        if lookout.roster is None:
            _say_no_roster(sight, chosen, json=json)
        elif watched:
            await watch(sight, lookout.look, page=partial(_page, chosen), document=_document, json=json)
        elif json:
            print_json(_document(sight, ""))
        else:
            print_page(_page(chosen, sight, ""))


def _page(chosen: Settings, sight: _Sight, problem: str) -> Page:
    fleet = sight.fleet
    waiting = [plain(str(sight.hour)), f"backlog: {plain(str(sight.waiting))}", plain(str(sight.shelved))]
    alarm = [f"[bold red]out of date:[/] {plain(problem)}"] if problem else []
    if not fleet.workers:
        return [*alarm, _empty(chosen), *waiting]
    return [*alarm, _workers(fleet), "", _providers(fleet), "", *_fleet_lines(fleet), *waiting]


def _empty(chosen: Settings) -> str:
    where = plain(without_password(chosen.ledger))
    seconds = chosen.health_window
    hint = f"it shows within {seconds:g} s" if seconds else "but not with POSTMAN_HEALTH_WINDOW=0, as here"
    return f"no worker has reported at {where} within the last ten minutes: start one with `postman worker`; {hint}"


def _workers(fleet: Fleet) -> Table:
    names = ("worker", "process", "health", "why", "mails/s", "in flight", "said", "document", "trouble since (UTC)")
    table = Table(*names, box=None, pad_edge=False, header_style="dim")
    for line in fleet.workers:
        table.add_row(
            plain(line.worker),
            plain(f"{line.host}:{line.pid}"),
            f"[{_STYLES[line.health]}]{line.health}[/]",
            plain(line.reason),
            f"{line.rate:.1f}",
            f"{line.in_flight} of {line.slots}",
            f"{max(0.0, fleet.at - line.said_at):.0f} s ago",
            _seen(line),
            moment(line.since) if line.since is not None else "",
        )
    return table


def _seen(line: WorkerLine) -> str:
    """Return the version of the providers' document, and that it is not the latest that was put there."""
    version = plain(line.document.version)
    return f"[bold red]{version}, and no newer one[/]" if line.document.problem else version


def _providers(fleet: Fleet) -> Table:
    names = ("provider", "weight", "share", "mails/s", "breakers", "last problem")
    table = Table(*names, box=None, pad_edge=False, header_style="dim")
    for line in fleet.providers:
        table.add_row(
            plain(line.provider),
            _weights(line),
            f"{line.share:.0%}",
            f"{line.rate:.1f}",
            _breakers(line),
            plain(line.problem),
        )
    return table


def _weights(line: ProviderLine) -> str:
    return " or ".join(f"{weight:g}" for weight in line.weights)


def _breakers(line: ProviderLine) -> str:
    states = ", ".join(f"{plain(state.replace('_', ' '))} {count}" for state, count in line.breakers.items())
    return f"{states} (next try in {line.retry_after:.0f} s)" if line.retry_after else states


def _fleet_lines(fleet: Fleet) -> Sequence[str]:
    count = Counter(line.health for line in fleet.workers)
    healths = ", ".join(f"{number} {health}" for health, number in sorted(count.items()))
    lines = [f"fleet: {healths}; left for their health within the last hour: {fleet.departures}"]
    if fleet.ledger.slow:
        lines.append(f"[bold red]ledger slow:[/] {fleet.ledger.slow}; mails take longer, none is lost")
    if fleet.slow:
        lines.append(f"[bold red]fleet slow:[/] {plain(fleet.slow)}; nobody is told to leave")
    problems = {line.document.problem for line in fleet.workers if line.document.problem}
    lines.extend(f"[bold red]providers' document:[/] {plain(problem)}" for problem in sorted(problems))
    if fleet.leave:
        lines.append(f"told to leave: {plain(', '.join(sorted(fleet.leave)))}")
    return lines


def _document(sight: _Sight, problem: str) -> dict[str, object]:
    """*doubts* is null: nobody counts them here."""
    fleet = sight.fleet
    return {
        "at": fleet.at,
        "roster": True,
        "workers": [asdict(line) for line in fleet.workers],
        "providers": [asdict(line) for line in fleet.providers],
        "fleet": {"slow": fleet.slow, "leave": sorted(fleet.leave), "departures": fleet.departures},
        "ledger": asdict(fleet.ledger),
        "backlog": backlog_document(sight.waiting),
        "hour": hour_document(sight.hour),
        "doubts": sight.shelved.doubts,
        "dead": sight.shelved.dead,
        "problem": problem,
    }


def _say_no_roster(sight: _Sight, chosen: Settings, *, json: bool) -> None:
    if json:
        print_json({**_document(sight, ""), "roster": False})
        return
    where = plain(without_password(chosen.ledger))
    OUT.print(f"this kind of ledger ({where}) keeps no reports of workers: they run without, and none can be shown")
    OUT.print(f"backlog: {plain(str(sight.waiting))}")
    OUT.print(plain(str(sight.shelved)))
