"""`postman status`: the workers, the providers as they see them, and how the fleet does."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from postman.config import Settings
from postman.core.fleet.health import Health
from postman.entrypoints.backlog import Gauge, Waiting, backlog_document
from postman.entrypoints.cli.layouts import latest_layout
from postman.entrypoints.cli.output import OUT, moment, plain, print_json, print_table, without_password
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.fleet import LOOK_BACK, Fleet, ProviderLine, WorkerLine, fleet_of
from postman.errors import LedgerUnavailableError
from postman.ports.roster import Roster
from postman.wiring import open_backlogs, open_roster, system_clock

__all__ = ["status"]

_Page = Sequence[Table | str]

_EVERY: Final = 2.0
_STYLES: Final = {
    Health.OK: "green",
    Health.SLOW: "bold red",
    Health.STALLED: "bold red",
    Health.IDLE_WITH_BACKLOG: "bold yellow",
    Health.UNKNOWN: "dim",
    Health.LEAVING: "yellow",
}
_NOT_COUNTED: Final = "doubts: not counted by this ledger"


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is seen at a moment."""

    fleet: Fleet
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class _Lookout:
    """Where to look; without a *roster* nobody reports."""

    roster: Roster | None
    gauge: Gauge
    shards: Sequence[int]

    async def look(self) -> _Sight:
        now = time.time()
        reports = await self.roster.reports(now - LOOK_BACK) if self.roster else ()
        return _Sight(fleet_of(reports, now), await self.gauge.look(self.shards, reports))


@asynccontextmanager
async def _lookout(chosen: Settings) -> AsyncIterator[_Lookout]:
    roster, gauge = open_roster(chosen), Gauge(open_backlogs(chosen), system_clock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(gauge.aclose)
        if roster is not None:
            stack.push_async_callback(roster.aclose)
        yield _Lookout(roster, gauge, range((await latest_layout(chosen)).top))


def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line (with --watch: one every two seconds).")] = (
        False
    ),
    watch: Annotated[bool, typer.Option("--watch", help="Look every two seconds until Ctrl-C.")] = False,
) -> None:
    """Show the workers and their health, the providers and their breakers, how the fleet does, and what waits.

    Exit status 1 if the ledger's store cannot be reached.
    """
    asyncio.run(_show(settings(), json=json, watch=watch))


async def _show(chosen: Settings, *, json: bool, watch: bool) -> None:
    async with _lookout(chosen) as lookout:
        sight = await lookout.look()
        if lookout.roster is None:
            _say_no_roster(sight, chosen, json=json)
        elif watch:
            await _watch(lookout, sight, lambda sight, problem: _page(sight, chosen, problem), json=json)
        elif json:
            print_json(_document(sight, ""))
        else:
            _print(_page(sight, chosen, ""))


async def _watch(lookout: _Lookout, sight: _Sight, page: Callable[[_Sight, str], _Page], *, json: bool) -> None:
    """Show *sight*, then what is seen every two seconds, until a signal; an outage is shown, and waited for."""
    stopped, problem = _stop_signal(), ""
    with _live(json=json) as live:
        while True:
            if json:
                print_json(_document(sight, problem))
            elif live is None:
                _print(page(sight, problem))
            else:
                live.update(Group(*page(sight, problem)), refresh=True)
            if await _within(stopped, _EVERY):
                return
            try:
                sight, problem = await lookout.look(), ""
            except LedgerUnavailableError as error:
                problem = str(error)


def _live(*, json: bool) -> AbstractContextManager[Live | None]:
    """Where stdout is no terminal, nothing can be drawn over: each look is printed below the last."""
    return Live(console=OUT, auto_refresh=False) if OUT.is_terminal and not json else nullcontext()


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _print(page: _Page) -> None:
    for part in page:
        if isinstance(part, Table):
            print_table(part)
        else:
            OUT.print(part)


def _page(sight: _Sight, chosen: Settings, problem: str) -> _Page:
    fleet, waiting = sight.fleet, f"backlog: {plain(str(sight.waiting))}"
    alarm = [f"[bold red]out of date:[/] {plain(problem)}"] if problem else []
    if not fleet.workers:
        return [*alarm, _empty(chosen), waiting, _NOT_COUNTED]
    return [*alarm, _workers(fleet), "", _providers(fleet), "", *_fleet_lines(fleet), waiting, _NOT_COUNTED]


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
        "doubts": None,
        "problem": problem,
    }


def _say_no_roster(sight: _Sight, chosen: Settings, *, json: bool) -> None:
    if json:
        print_json({**_document(sight, ""), "roster": False})
        return
    where = plain(without_password(chosen.ledger))
    OUT.print(f"this kind of ledger ({where}) keeps no reports of workers: they run without, and none can be shown")
    OUT.print(f"backlog: {plain(str(sight.waiting))}")
    OUT.print(_NOT_COUNTED)
