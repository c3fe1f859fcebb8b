"""`postman status`: the workers, the providers as they see them, and how the fleet does."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from postman.config import Settings
from postman.core.fleet.health import Health
from postman.entrypoints.cli.output import OUT, moment, plain, print_json, print_table, without_password
from postman.entrypoints.cli.setup import settings
from postman.entrypoints.fleet import LOOK_BACK, Fleet, ProviderLine, WorkerLine, fleet_of
from postman.errors import LedgerUnavailableError
from postman.ports.roster import Roster
from postman.wiring import open_roster

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
_NOT_COUNTED: Final = (
    "backlog: see `postman shards list`, where the queue can count it; doubts: not counted by this ledger"
)


def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line (with --watch: one every two seconds).")] = (
        False
    ),
    watch: Annotated[bool, typer.Option("--watch", help="Look every two seconds until Ctrl-C.")] = False,
) -> None:
    """Show the workers and their health, the providers and their breakers, and how the fleet does.

    Exit status 1 if the ledger's store cannot be reached.
    """
    chosen = settings()
    roster = open_roster(chosen)
    if roster is None:
        _say_no_roster(chosen, json=json)
        return
    asyncio.run(_show(roster, chosen, json=json, watch=watch))


async def _show(roster: Roster, chosen: Settings, *, json: bool, watch: bool) -> None:
    try:
        fleet = await _look(roster)
        if watch:
            await _watch(roster, fleet, lambda fleet, problem: _page(fleet, chosen, problem), json=json)
        elif json:
            print_json(_document(fleet, ""))
        else:
            _print(_page(fleet, chosen, ""))
    finally:
        await roster.aclose()


async def _look(roster: Roster) -> Fleet:
    now = time.time()
    return fleet_of(await roster.reports(now - LOOK_BACK), now)


async def _watch(roster: Roster, fleet: Fleet, page: Callable[[Fleet, str], _Page], *, json: bool) -> None:
    """Show *fleet*, then what is seen every two seconds, until a signal; an outage is shown, and waited for."""
    stopped, problem = _stop_signal(), ""
    with _live(json=json) as live:
        while True:
            if json:
                print_json(_document(fleet, problem))
            elif live is None:
                _print(page(fleet, problem))
            else:
                live.update(Group(*page(fleet, problem)), refresh=True)
            if await _within(stopped, _EVERY):
                return
            try:
                fleet, problem = await _look(roster), ""
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


def _page(fleet: Fleet, chosen: Settings, problem: str) -> _Page:
    alarm = [f"[bold red]out of date:[/] {plain(problem)}"] if problem else []
    if not fleet.workers:
        return [*alarm, _empty(chosen), _NOT_COUNTED]
    return [*alarm, _workers(fleet), "", _providers(fleet), "", *_fleet_lines(fleet), _NOT_COUNTED]


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
    if fleet.slow:
        lines.append(f"[bold red]fleet slow:[/] {plain(fleet.slow)}; nobody is told to leave")
    problems = {line.document.problem for line in fleet.workers if line.document.problem}
    lines.extend(f"[bold red]providers' document:[/] {plain(problem)}" for problem in sorted(problems))
    if fleet.leave:
        lines.append(f"told to leave: {plain(', '.join(sorted(fleet.leave)))}")
    return lines


def _document(fleet: Fleet, problem: str) -> dict[str, object]:
    """*backlog* and *doubts* are null: nobody counts them here."""
    return {
        "at": fleet.at,
        "roster": True,
        "workers": [asdict(line) for line in fleet.workers],
        "providers": [asdict(line) for line in fleet.providers],
        "fleet": {"slow": fleet.slow, "leave": sorted(fleet.leave), "departures": fleet.departures},
        "backlog": None,
        "doubts": None,
        "problem": problem,
    }


def _say_no_roster(chosen: Settings, *, json: bool) -> None:
    if json:
        print_json(
            {"at": time.time(), "roster": False, "workers": [], "providers": [], "backlog": None, "doubts": None}
        )
        return
    where = plain(without_password(chosen.ledger))
    OUT.print(f"this kind of ledger ({where}) keeps no reports of workers: they run without, and none can be shown")
    OUT.print(_NOT_COUNTED)
