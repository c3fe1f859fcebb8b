"""What is wrong now, in sentences for who was woken: each with the runbook's section that says what to do.

They follow the runbook's table "The first minute". A sentence says what is so,
the next one whether anything is lost; the figures stand elsewhere on the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from postman.core.fleet.health import Health
from postman.core.layout import Layout, ShardState
from postman.entrypoints.backlog import Waiting, duration
from postman.entrypoints.console.records import IN_DOUBT
from postman.entrypoints.console.words import amount, plural, time_of_day
from postman.entrypoints.fleet import Fleet, ProviderLine

__all__ = ["Alarm", "Sight", "Verdict", "alarms_of", "down_since", "verdict_of"]

_LATE: Final = 60.0
_TOO_LATE: Final = 600.0
"""Seconds for which the oldest mail waits: after the first somebody should look, after the second it is an outage."""
_MANY_DOUBTS: Final = 5
_NAMED: Final = 3
_LOCKED_OUT: Final = ("CredentialsError", "QuotaExceededError")
_UNREACHABLE: Final = "could not be reached"
_UNFIT: Final = (Health.SLOW, Health.STALLED, Health.IDLE_WITH_BACKLOG)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong."""

    tone: str
    """`bad`: somebody must act, or mails are late; `warn`: look when you can; `note`: to be known."""
    text: str
    more: str = ""
    section: str = ""
    """Of the runbook; empty: it has none."""
    link: str = ""
    """Where this console shows more."""

    @property
    def key(self) -> str:
        """What is said aloud of it: nothing that changes while it stays the same alarm."""
        return self.section.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known at a moment."""

    now: float
    fleet: Fleet | None
    """None where no report can be read: see *problem*."""
    seen_at: float
    """When the reports were read, in seconds since 1970."""
    problem: str
    """Why what is known of the workers is out of date; empty: it is of now."""
    waiting: Waiting | None
    layout: Layout | None
    counts: Mapping[str, int] | None
    """Mails in doubt, and dead letters by reason; None where nobody counts them."""
    down_since: Mapping[str, float]
    """By provider, since when it gets no mails, as far as the last hour tells."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first sentence of the page."""

    tone: str
    text: str
    more: str


def verdict_of(sight: Sight, alarms: Sequence[Alarm]) -> Verdict:
    """Return what is to be said before all else."""
    tones = {alarm.tone for alarm in alarms}
    waits = _waits(sight)
    if sight.fleet is None:
        return Verdict("quiet", "Nobody knows how it is.", "The workers' reports cannot be read.")
    if not _is_flowing(sight.fleet):
        return Verdict("bad", "No mails are being sent.", f"Nothing is lost: {waits}")
    if "bad" in tones:
        return Verdict("bad", "Mails flow, but something is wrong.", f"Nothing is lost: {waits}")
    if "warn" in tones:
        return Verdict("warn", "Mails flow. Something needs a look.", f"Nothing is lost: {waits}")
    return Verdict("good", "All is well.", f"{waits[:1].upper()}{waits[1:]}")


def alarms_of(sight: Sight) -> Sequence[Alarm]:
    """Return what is wrong, the worst first."""
    found = [*_of_stores(sight), *_of_fleet(sight), *_of_shards(sight), *_of_mails(sight)]
    order = {"bad": 0, "warn": 1, "note": 2}
    return sorted(found, key=lambda alarm: order[alarm.tone])


def down_since(lanes: Mapping[str, Sequence[tuple[float, str]]]) -> Mapping[str, float]:
    """Return since when each provider's breaker has been open without a break, by its states minute by minute."""
    since: dict[str, float] = {}
    for provider, states in lanes.items():
        for begins, state in reversed(states):
            if state not in ("open", "half_open"):
                break
            since[provider] = begins
    return since


def _waits(sight: Sight) -> str:
    waiting = sight.waiting
    if waiting is None or not (waiting.is_counted and waiting.shards):
        return "mails that wait are kept in the queue."
    if not waiting.count:
        return "no mail waits."
    oldest = f", the oldest for {duration(waiting.oldest[1])}" if waiting.oldest else ""
    return f"{plural(waiting.count, 'mail')} {'waits' if waiting.count == 1 else 'wait'} in the queue{oldest}."


def _is_flowing(fleet: Fleet) -> bool:
    """Whether a worker works, and finds a provider that it may use."""
    is_working = any(line.health not in (Health.STALLED, Health.LEAVING) for line in fleet.workers)
    return is_working and not (fleet.providers and all(_is_down(line) for line in fleet.providers))


def _is_down(line: ProviderLine) -> bool:
    """Whether no worker sends mails there."""
    return bool(line.breakers) and not ({"closed", "half_open", "paused", "held_closed"} & line.breakers.keys())


def _is_forced(line: ProviderLine, to: str) -> bool:
    """Whether a person holds it in all workers."""
    return bool(line.breakers) and line.breakers.keys() == {f"held_{to}"}


def _why_down(line: ProviderLine) -> str:
    return "it is forced open" if _is_forced(line, "open") else line.problem or "its breaker is open"


def _of_stores(sight: Sight) -> Iterator[Alarm]:
    if sight.problem:
        age = f" What you see is {duration(sight.now - sight.seen_at)} old." if sight.fleet else ""
        text = "The ledger's store cannot be reached from here."
        lost = "Workers that cannot reach it either send nothing; mails wait."
        yield Alarm("bad", text, f"{sight.problem}. {lost}{age}", "ledger_unavailable")
    elif sight.fleet is not None and not sight.fleet.workers:
        text = "No worker has reported within ten minutes."
        yield Alarm("bad", text, "Mails wait in the queue, for seven days.", "nothing_acknowledged", "/workers")


def _of_fleet(sight: Sight) -> Iterator[Alarm]:
    fleet = sight.fleet
    if fleet is None:
        return
    yield from _of_providers(sight, fleet)
    for problem in sorted({line.document.problem for line in fleet.workers if line.document.problem}):
        text = "Workers cannot go by the providers' document, and keep the one before."
        yield Alarm("warn", text, problem, "providers_refused", "/providers")
    if fleet.ledger.slow:
        more = f"{fleet.ledger.slow[:1].upper()}{fleet.ledger.slow[1:]}. Mails take longer, none is lost."
        yield Alarm("warn", "The ledger is slow.", more, "ledger_slow", "/workers")
    if fleet.slow:
        yield Alarm("warn", "The whole fleet is slow.", fleet.slow, "workers_unfit", "/workers")
    unfit = [line for line in fleet.workers if line.health in _UNFIT]
    if unfit:
        reasons = "; ".join(dict.fromkeys(f"{line.worker}: {line.reason}" for line in unfit[:_NAMED]))
        more = f" and {len(unfit) - _NAMED} more" if len(unfit) > _NAMED else ""
        text = f"{plural(len(unfit), 'worker')} of {len(fleet.workers)} {'does' if len(unfit) == 1 else 'do'} badly."
        yield Alarm("warn", text, f"{reasons}{more}", "workers_unfit", "/workers")


def _of_providers(sight: Sight, fleet: Fleet) -> Iterator[Alarm]:
    down = [line for line in fleet.providers if _is_down(line)]
    if down and len(down) == len(fleet.providers):
        is_ours = all(_UNREACHABLE in line.problem for line in down)
        section = "nothing_reachable" if is_ours else "nothing_acknowledged"
        text = "No provider can be used." if len(down) > 1 else f"The only provider, {down[0].provider}, is down."
        more = "; ".join(f"{line.provider}: {_why_down(line)}" for line in down)
        yield Alarm("bad", text, f"{more}. Mails wait until one can be.", section, "/providers")
        return
    others = [line.provider for line in fleet.providers if line not in down]
    for line in down:
        if _is_forced(line, "open"):
            text = f"{line.provider} is forced open; all mails go to {_listed(others)}."
            yield Alarm("warn", text, "It stays so until somebody sets it to auto.", "", "/providers")
            continue
        section = "provider_locked_out" if any(each in line.problem for each in _LOCKED_OUT) else "provider_down"
        text = f"{line.provider} is down{_since(sight, line.provider)}; all mails go to {_listed(others)}."
        yield Alarm("bad", text, line.problem or "Its breaker is open.", section, "/providers")
    for line in fleet.providers:
        if _is_forced(line, "closed"):
            text = f"{line.provider} is forced closed: it gets its mails whatever becomes of them."
            yield Alarm("note", text, "It stays so until somebody sets it to auto.", "", "/providers")
            continue
        barred = sum(count for state, count in line.breakers.items() if state != "closed")
        if barred and line not in down:
            of = sum(line.breakers.values())
            states = ", ".join(f"{state.replace('_', ' ')} {count}" for state, count in line.breakers.items())
            text = f"{line.provider} is held back by {barred} of {plural(of, 'worker')} ({states})."
            yield Alarm("warn", text, line.problem, "provider_down", "/providers")


def _since(sight: Sight, provider: str) -> str:
    since = sight.down_since.get(provider)
    return f" since {time_of_day(since)} UTC" if since is not None else ""


def _of_shards(sight: Sight) -> Iterator[Alarm]:
    waiting, layout = sight.waiting, sight.layout
    if waiting is not None and waiting.problem:
        yield Alarm("warn", "Nobody can tell how many mails wait.", waiting.problem, "", "/shards")
    if layout is not None:
        paused = [shard for shard in range(layout.top) if layout.state_of(shard) is ShardState.PAUSED]
        if paused:
            text = f"{_listed([f'shard {shard}' for shard in paused[:_NAMED]])} {_are(len(paused))} paused."
            more = "Its mails wait until it is resumed; after seven days they are deleted."
            yield Alarm("warn", text[:1].upper() + text[1:], more, "mails_expire", "/shards")
        if not layout.is_settled:
            text = f"A change to {plural(layout.target, 'shard')} is under way."
            yield Alarm("note", text, f"`postman reshard {layout.target}` goes on with it.", "", "/shards")
    if waiting is not None and waiting.oldest is not None and waiting.oldest[1] > _LATE:
        shard, age = waiting.oldest
        tone = "bad" if age > _TOO_LATE else "warn"
        text = f"Mails are late: the oldest has waited {duration(age)}, in shard {shard}."
        yield Alarm(tone, text, "It is kept for seven days.", "mails_late", "/shards")


def _of_mails(sight: Sight) -> Iterator[Alarm]:
    counts = sight.counts or {}
    doubts = counts.get(IN_DOUBT, 0)
    if doubts:
        text = f"{plural(doubts, 'mail')} may have been sent, and nobody knows yet."
        more = "Each is asked for at its provider; only what stays unknown is sent again, or held."
        yield Alarm("warn" if doubts > _MANY_DOUBTS else "note", text, more, "doubts", "/doubts")
    dead = {shelf: count for shelf, count in counts.items() if shelf != IN_DOUBT and count}
    if dead:
        most = sorted(dead.items(), key=lambda each: -each[1])
        more = ", ".join(f"{amount(count)} {shelf.replace('_', ' ')}" for shelf, count in most)
        number = sum(dead.values())
        text = f"{plural(number, 'dead letter')} {'waits' if number == 1 else 'wait'} for a decision."
        yield Alarm("note", text, f"{more}. They are kept for 31 days.", "dead_letters", "/dead")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
