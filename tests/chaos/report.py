"""What a chaos run proved, as a table and as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from postman.core.protocol import Entry, State
from tests.chaos.checker import DOUBT, Breach, breaches, history_of
from tests.chaos.run import Run

__all__ = ["broken", "document", "table"]


def broken(run: Run) -> list[Breach]:
    """Return every promise that was not kept."""
    found = breaches(run.evidence, may_double=run.plan.may_double)
    found.extend(Breach("", f"a worker that was told to drain ended with {status}") for status in run.bad_stops)
    found.extend(Breach("", f"a worker met what nobody expected: {line}") for line in run.surprises)
    return [*found, *_too_mild(run)]


def document(run: Run) -> dict[str, Any]:
    """Return the figures, ready for JSON."""
    evidence, found = run.evidence, broken(run)
    entries = evidence.entries
    return {
        "plan": asdict(run.plan),
        "mails": len(evidence.published),
        "sent": sum(entry.state is State.SENT for entry in entries.values()),
        "dead_lettered": dict(Counter(_reasons(run))),
        "lost": sum(breach.problem.startswith("lost") for breach in found),
        "doubled": {mail_id: history_of(entries.get(mail_id)) for mail_id in evidence.doubled},
        "doubts": sum(_count(entry, DOUBT) for entry in entries.values()),
        "mails_in_doubt": sum(_count(entry, DOUBT) > 0 for entry in entries.values()),
        "doubts_settled": dict(Counter(end for entry in entries.values() for end in _ends_of_doubts(entry))),
        "taken_over": sum(entry.lapses for entry in entries.values()),
        "kills": run.kills,
        "stops": run.stops,
        "lost_replies": dict(run.lost),
        "connections_cut": run.cuts,
        "freezes": {str(name): count for name, count in run.freezes.items()},
        "seconds": round(run.seconds, 1),
        "mails_per_second": round(len(evidence.published) / run.seconds, 1),
        "broken": [asdict(breach) for breach in found],
    }


def table(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    plan = figures["plan"]
    asked = "can be asked" if plan["can_be_asked"] else "cannot be asked"
    rows = [
        ("on_doubt", f"{plan['on_doubt']}; the providers {asked}; seed {plan['seed']}"),
        ("mails", str(figures["mails"])),
        ("sent", str(figures["sent"])),
        ("dead-lettered", _listed(figures["dead_lettered"])),
        ("lost", str(figures["lost"])),
        ("accepted more than once", str(len(figures["doubled"]))),
        ("doubts", f"{figures['doubts']} of {figures['mails_in_doubt']} mails"),
        ("doubts settled", _listed(figures["doubts_settled"])),
        ("workers killed", f"{figures['kills']}; leases that ran out: {figures['taken_over']}"),
        ("workers drained", str(figures["stops"])),
        ("replies lost", _listed(figures["lost_replies"])),
        ("connections cut", str(figures["connections_cut"])),
        ("emulators frozen", _listed(figures["freezes"])),
        ("duration", f"{figures['seconds']} s, {figures['mails_per_second']} mails/s"),
        ("promises broken", str(len(figures["broken"]))),
    ]
    return "\n".join([f"{name:25}{value}" for name, value in rows] + list(_complaints(figures["broken"])))


def _too_mild(run: Run) -> Iterable[Breach]:
    """A run that was less bad than it was meant to be proves less than it says."""
    plan = run.plan
    if run.kills < plan.kills:
        yield Breach("", f"only {run.kills} workers were killed, not {plan.kills}")
    for service, lost in run.lost.items():
        if lost < plan.lost_replies:
            yield Breach("", f"only {lost} replies of {service} were lost, not {plan.lost_replies}")


def _complaints(found: Sequence[dict[str, Any]]) -> Iterable[str]:
    for breach in found:
        yield f"BROKEN {breach['mail_id']}: {breach['problem']}"
        yield from (f"    {line}" for line in breach["history"])


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _reasons(run: Run) -> Iterable[str]:
    """Yield the reason of each dead-lettered mail once, however many letters there are of it."""
    seen = {letter.mail_id: letter.reason for letter in run.evidence.letters}
    return seen.values()


def _count(entry: Entry, event: str) -> int:
    return sum(note.event == event for note in entry.history)


def _ends_of_doubts(entry: Entry) -> Iterable[str]:
    """Yield how each doubt ended: by the note that follows it."""
    notes = entry.history
    for number, note in enumerate(notes):
        if note.event != DOUBT:
            continue
        after = next((each for each in notes[number + 1 :] if each.event != DOUBT), None)
        yield "open" if after is None else f"{after.event} ({after.detail})" if after.detail else after.event
