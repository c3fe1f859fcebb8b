"""The tables of `docs/costs.md`: two that `costs` counted, which can be read back, and those that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

from tests.benchmarks import cost_model as model
from tests.benchmarks.cost_model import Amounts, Counts, Fleet, Item, Limit, Part

__all__ = [
    "COUNTED",
    "IDLE",
    "SENDERS",
    "Idle",
    "counted_table",
    "derived_parts",
    "expected_idle",
    "idle_table",
    "read_counted",
    "read_idle",
]

COUNTED: Final = "counted"
IDLE: Final = "idle"
SENDERS: Final = (1e3, 1e5, 1e6, 1e7, 1e9)
"""Mails a day."""
_TIMES: Final = (1, 10, 1_000)

_COLUMNS: Final[Mapping[str, tuple[str, int]]] = {
    "mails": ("mails", 0),
    "calls": ("calls", 3),
    "published": ("published, B", 0),
    "pulled": ("pulled, B", 0),
    "writes": ("writes", 3),
    "in_vain": ("in vain", 3),
    "reads": ("reads", 3),
    "document": ("entry, B", 0),
    "requests": ("to providers, B", 0),
    "log": ("log, B", 0),
    "cpu": ("CPU, ms", 2),
}
"""The counts of a mail, each with its heading and its decimals."""


@dataclass(frozen=True, slots=True)
class Idle:
    """What one idle worker does in a second."""

    layout: float
    suppressions: float
    written: float
    """Reports."""
    looked: float
    """Reports that were read."""
    pulls: float


_IDLE_NAMES: Final = {
    "layout": "reads of the layout",
    "suppressions": "reads of the suppression list",
    "written": "writes of its report",
    "looked": "reads of reports",
    "pulls": "empty pulls",
}


def expected_idle(fleet: Fleet) -> Idle:
    """Return what the model says of one worker of *fleet*."""
    taken = model.polling(fleet, 1.0)
    return Idle(
        layout=1.0 / fleet.layout_every,
        suppressions=1.0 / fleet.suppressions_every,
        written=taken[Item.WRITE] / fleet.processes,
        looked=fleet.processes / fleet.report_every / model.windows_between_looks(fleet),
        pulls=taken[Item.PUBSUB] / model.LEAST / fleet.processes,
    )


def counted_table(rows: Sequence[Counts]) -> str:
    """Return the counts as Markdown; what is left out after the decimals is left out of all that follows from them."""
    headings = ["a mail, on the average", *(heading for heading, _ in _COLUMNS.values())]
    return _table(headings, [[row.situation, *_cells(row)] for row in rows])


def read_counted(text: str) -> Sequence[Counts]:
    """Return what `counted_table` wrote; raises `ValueError` for another table."""
    headings, *rows = _read(text)
    if headings[1:] != [heading for heading, _ in _COLUMNS.values()]:
        raise ValueError(f"the columns are {headings[1:]}")
    return [Counts(situation, int(_number(mails)), *map(_number, others)) for situation, mails, *others in rows]


def idle_table(counted: Idle) -> str:
    """Return what was counted of one idle worker, beside what the model says."""
    expected = expected_idle(Fleet(1))
    rows = [
        [name, f"{getattr(expected, field):.3f}", f"{getattr(counted, field):.3f}"]
        for field, name in _IDLE_NAMES.items()
    ]
    return _table(["an idle worker, in a second", "by its settings", "counted"], rows)


def read_idle(text: str) -> Idle:
    """Return what was counted, of a table that `idle_table` wrote."""
    found = {name: _number(counted) for name, _, counted in _read(text)[1:]}
    return Idle(**{field: found[name] for field, name in _IDLE_NAMES.items()})


def derived_parts(counted: Sequence[Counts]) -> Mapping[str, str]:
    """Return all that follows from the counts, of which the first are of a good run, the last of the naive program."""
    return {
        "prices": _prices(),
        "bill": _bills({row.situation: model.amounts_of(row) for row in counted}, "a million mails"),
        "naive": _naive(counted[0], counted[-1]),
        "months": _months(counted[0]),
        "polling": _polling(),
        "limits": _limits(counted[0]),
    }


def _prices() -> str:
    rows = [
        [item, _listed(price.dollars), price.unit, price.source if price.is_read else f"**{price.source}: check it**"]
        for item, price in model.PRICES.items()
    ]
    return _table(["price", "list", "for", "read where and when"], rows)


def _listed(value: float) -> str:
    """Return a price with all its digits, cents at the least."""
    return f"${max(f'{value:.2f}', f'{value:g}', key=len)}"


def _bills(designs: Mapping[str, Amounts], heading: str) -> str:
    rows = [
        [name, *(_dollars(model.MILLION * part) for part in model.by_part(amounts).values()), _sum(amounts)]
        for name, amounts in designs.items()
    ]
    return _table([heading, *Part, "sum"], rows)


def _sum(amounts: Amounts) -> str:
    return f"**{_dollars(model.MILLION * model.dollars(amounts))}**"


def _naive(ours: Counts, naive: Counts) -> str:
    sums = {name: model.MILLION * model.dollars(each) for name, each in model.designs(ours, naive).items()}
    steps = ["", *(_difference(after - before) for before, after in pairwise(sums.values()))]
    rows = [[name, step, f"**{_dollars(each)}**"] for (name, each), step in zip(sums.items(), steps, strict=True)]
    return _table(["a million mails", "the step", "sum"], rows)


def _months(counts: Counts) -> str:
    headings = ["mails a day", "busiest hour, mails/s", "instances", *Part, "a month", "a million mails"]
    return _table(headings, [_month(mails, counts) for mails in SENDERS])


def _month(mails: float, counts: Counts) -> list[str]:
    instances, amounts = model.month(mails, counts)
    bill = model.dollars(amounts)
    return [
        f"{mails:,.0f}",
        _significant(mails / model.DAY * model.PEAK),
        f"{instances}",
        *map(_dollars, model.by_part(amounts).values()),
        f"**{_dollars(bill)}**",
        _dollars(bill / (mails * model.MONTH / model.DAY) * model.MILLION),
    ]


def _polling() -> str:
    headings = ["worker processes", "reads", "writes", "keys", "empty pulls", "polling", "the instances themselves"]
    return _table(headings, [_polled(Fleet(processes)) for processes in (1, 2, 10, 100)])


def _polled(fleet: Fleet) -> list[str]:
    taken = model.polling(fleet, model.MONTH)
    parts = [taken[item] * model.PRICES[item].each for item in (Item.READ, Item.WRITE, Item.SECRET, Item.PUBSUB)]
    instances = model.dollars(model.instance(fleet.processes * model.MONTH))
    return [f"{fleet.processes}", *map(_dollars, [*parts, model.dollars(taken), instances])]


def _limits(counts: Counts) -> str:
    shares = [f"{times:,} x: {times * model.BASE:,.0f}/s" for times in _TIMES]
    rows = [_limit(limit, counts) for limit in model.LIMITS]
    ramp = [_minutes(model.ramp_minutes(times * model.BASE * counts.writes)) for times in _TIMES]
    reached = 500.0 / counts.writes
    rows.append(
        ["Firestore, an empty collection", "500 writes/s", _significant(reached), *ramp, "half more each 5 min"]
    )
    return _table(["limit", "of", "reached at, mails/s", *shares, ""], rows)


def _limit(limit: Limit, counts: Counts) -> list[str]:
    reached = limit.reached_at(counts)
    shares = [_share(times * model.BASE / reached) for times in _TIMES]
    return [limit.name, f"{limit.capacity:,.0f} {limit.unit}", _significant(reached), *shares, limit.remark]


def _share(share: float) -> str:
    text = f"{100 * share:,.0f} %" if share >= 0.01 else "below 1 %"
    return f"**{text}**" if share > 1 else text


def _minutes(minutes: float) -> str:
    return f"after {minutes:.0f} min" if minutes else "at once"


def _significant(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _dollars(value: float) -> str:
    return f"${value:,.2f}" if abs(value) < 1_000 else f"${value:,.0f}"


def _difference(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{_dollars(abs(value))}"


def _cells(row: Counts) -> list[str]:
    known = [field.name for field in fields(row) if field.name != "situation"]
    return [f"{getattr(row, name):,.{_COLUMNS[name][1]}f}" for name in known]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


def _read(text: str) -> list[list[str]]:
    """Return the headings and the rows of the table in *text*."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells[0], *cells[2:]]


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))
