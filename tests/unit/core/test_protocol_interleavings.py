"""Every interleaving of workers, crashes, lapsed leases and lost answers, over the functions that are shipped.

A breadth-first search from "one mail in the queue": in each step one worker
does the next thing of its programme, or something goes wrong. Time is abstract:
a lease is over or not, and a provider's window is over once no request that
began before the doubt can still be on its way. What is promised is checked in
every state, so the first violation found is the shortest.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pytest

from postman.core import protocol
from postman.core.ids import MailId
from postman.core.protocol import (
    Answer,
    Claim,
    Claimed,
    Conflict,
    Doubtful,
    Entry,
    Held,
    Poisonous,
    Settled,
    State,
    Step,
)
from postman.errors import ClaimLostError

MAIL, FIRST, SECOND = MailId("mail"), "alpha", "beta"
NOW, LEASE = 0.0, 1.0


class Worker(NamedTuple):
    """Where a worker is in its programme, and what it remembers; a crash makes it idle and forget."""

    at: str = "idle"
    token: int = 0
    """Of its claim, or of the doubt that it looks into; 0 for none."""
    provider: str = ""
    is_known: bool = False
    """Whether the entry carries the id of the claim that it is making: the answer was lost."""


class Budget(NamedTuple):
    """How often what may still go wrong; ENDLESS is always."""

    crashes: int
    lapses: int
    """Leases that end although their owner lives."""
    unknown: int
    refusals: int
    lost: int
    """Answers of the ledger: the call is then made again."""


ENDLESS = -1
ANYTHING = Budget(ENDLESS, ENDLESS, ENDLESS, ENDLESS, ENDLESS)


class Known(NamedTuple):
    """What decisions rest on in an entry, so that states which behave alike are one."""

    state: str = "absent"
    token: int = 0
    provider: str = ""
    is_leased: bool = False
    parked: bool = False


class World(NamedTuple):
    """All there is. Tokens are ranks: only which is equal and which is later matters."""

    entry: Known
    acked: bool
    dead: bool
    accepted: tuple[int, int]
    workers: tuple[Worker, ...]
    budget: Budget


class Edge(NamedTuple):
    label: str
    world: World
    is_fault: bool = False


@dataclass(frozen=True)
class Programme:
    """What workers do. The switches are mistakes, by which the search shows that it finds something."""

    on_doubt: str = "ask"
    claim: Callable[..., Step[Answer]] = protocol.claim
    takes_unknown_for_refusal: bool = False
    believes_absence_at_once: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, compare=False)


class Finding(NamedTuple):
    """What the search saw; *broken* is empty where every promise holds."""

    states: int
    broken: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join([self.broken or "all promises hold", *self.steps])


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("on_doubt", ["ask", "hold"])
def test_every_promise_holds_at_every_interleaving(on_doubt: str, workers: int) -> None:
    """However often whatever goes wrong: never lost, never sent twice, never two requests at once, never stuck."""
    finding = explore(Programme(on_doubt), workers=workers, budget=ANYTHING, are_alike=workers > 2)
    assert not finding.broken, str(finding)
    assert finding.states > 1_000


@pytest.mark.parametrize(
    ("workers", "budget"), [(2, Budget(1, 1, 1, ENDLESS, ENDLESS)), (3, Budget(1, 1, 0, ENDLESS, 0))]
)
def test_resending_sends_once_more_for_each_doubt_at_the_most(workers: int, budget: Budget) -> None:
    """Who chose speed gets no more copies than there were crashes, early ends of leases and unknown outcomes."""
    finding = explore(Programme("resend"), workers=workers, budget=budget, are_alike=workers > 2)
    assert not finding.broken, str(finding)
    assert finding.states > 1_000


def _keeps_token(entry: Entry | None, now: float, **asked: Any) -> Step[Answer]:
    if entry is None or entry.state is not State.SENDING or entry.lease_ends > now:
        return protocol.claim(entry, now, **asked)
    taken = replace(entry, claim_id=asked["claim_id"], provider=asked["provider"], lease_ends=now + asked["lease"])
    return Step(taken, Claimed(Claim(asked["mail_id"], taken.token, taken.claim_id, taken.provider)))


def _forgets_sent(entry: Entry | None, now: float, **asked: Any) -> Step[Answer]:
    is_sent = entry is not None and entry.state is State.SENT
    return protocol.claim(None if is_sent else entry, now, **asked)


def _takes_doubt_for_settled(entry: Entry | None, now: float, **asked: Any) -> Step[Answer]:
    step = protocol.claim(entry, now, **asked)
    if isinstance(step.answer, Doubtful):
        return Step(step.entry, Settled(replace(step.answer.entry, parked=True)))
    return step


def _never_takes_over(entry: Entry | None, now: float, **asked: Any) -> Step[Answer]:
    is_sending = entry is not None and entry.state is State.SENDING
    return Step(entry, Held(1.0)) if is_sending else protocol.claim(entry, now, **asked)


@pytest.mark.parametrize(
    ("programme", "broken"),
    [
        (Programme(claim=_keeps_token), "two requests at once under one token"),
        (Programme(claim=_forgets_sent), "claimed after it was recorded as sent"),
        (Programme(claim=_takes_doubt_for_settled), "lost: acknowledged, and neither sent nor dead-lettered"),
        (Programme(claim=_never_takes_over), "without further faults it never ends"),
        (Programme(takes_unknown_for_refusal=True), "sent twice"),
        (Programme(believes_absence_at_once=True), "two requests at once"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_search_finds_a_broken_protocol(programme: Programme, broken: str) -> None:
    """It shows the shortest way there: a few steps from a mail in the queue."""
    finding = explore(programme, workers=2, budget=ANYTHING)
    assert finding.broken == broken
    assert finding.steps[0] == "worker 0: pulls"
    assert len(finding.steps) <= 14


def explore(programme: Programme, *, workers: int, budget: Budget, are_alike: bool = False) -> Finding:
    """Return the shortest way to a broken promise, or none after every state was seen.

    Workers that *are_alike* are not told apart: fewer states, and the numbers in the steps mean nothing.
    """
    start = World(Known(), acked=False, dead=False, accepted=(0, 0), workers=(Worker(),) * workers, budget=budget)
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    fair_into: dict[World, list[World]] = {}
    frontier = deque([start])
    while frontier:
        world = frontier.popleft()
        for label, unnumbered, is_fault in _edges(world, programme):
            after = _plain(unnumbered, are_alike)
            if not is_fault:
                fair_into.setdefault(after, []).append(world)
            if after not in came_from:
                came_from[after] = (world, label)
                if problem := _problem(world, after, programme, budget):
                    return Finding(len(came_from), problem, _way(came_from, after))
                frontier.append(after)
    finishing = _can_finish(came_from, fair_into)
    stuck = next((world for world in came_from if world not in finishing), None)
    if stuck is not None:
        return Finding(len(came_from), "without further faults it never ends", _way(came_from, stuck))
    return Finding(len(came_from), "", ())


def _way(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    steps = []
    while (before := came_from[world]) is not None:
        world, label = before
        steps.append(label)
    return tuple(reversed(steps))


def _can_finish(worlds: Any, fair_into: dict[World, list[World]]) -> set[World]:
    ended = [world for world in worlds if world.acked and (world.entry.state == "sent" or world.dead)]
    reached = set(ended)
    while ended:
        news = [world for world in fair_into.get(ended.pop(), ()) if world not in reached]
        reached.update(news)
        ended.extend(news)
    return reached


def _problem(before: World, after: World, programme: Programme, budget: Budget) -> str:
    """Say which promise *after* breaks, or nothing."""
    posting = [worker.token for worker in after.workers if worker.at == "posting"]
    claimed, were_claimed = (sum(worker.at == "post" for worker in world.workers) for world in (after, before))
    doubts = sum(budget[:3]) - sum(after.budget[:3])
    copies = sum(after.accepted)
    if after.acked and not after.dead and after.entry.state != "sent":
        return "lost: acknowledged, and neither sent nor dead-lettered"
    if after.entry.state == "sent" and copies == 0:
        return "recorded as sent, and nobody accepted it"
    if before.entry.state == "sent" and claimed > were_claimed:
        return "claimed after it was recorded as sent"
    if before.entry.state == "sent" and after.entry.state != "sent":
        return "sent was taken back"
    if len(set(posting)) < len(posting):
        return "two requests at once under one token"
    if programme.on_doubt != "resend" and len(posting) > 1:
        return "two requests at once"
    if copies > (1 + doubts if programme.on_doubt == "resend" else 1):
        return "sent twice"
    return ""


def _edges(world: World, programme: Programme) -> Iterator[Edge]:
    for number, worker in enumerate(world.workers):
        yield from _steps(world, number, worker, programme)
        if worker.at != "idle" and world.budget.crashes:
            yield from _crashes(world, number, worker)
    if world.entry.is_leased:
        lapsed = world._replace(entry=world.entry._replace(is_leased=False))
        owned = any(worker.is_known or worker.token == world.entry.token for worker in world.workers)
        if not owned:
            yield Edge("the lease of a dead worker ends", lapsed)
        elif world.budget.lapses:
            yield Edge("a lease ends too early", _spend(lapsed, "lapses"), is_fault=True)


def _crashes(world: World, number: int, worker: Worker) -> Iterator[Edge]:
    crashed = _spend(_with(world, number, Worker()), "crashes")
    yield Edge(f"worker {number} dies at {worker.at}", crashed, is_fault=True)
    if worker.at == "posting":
        yield Edge(f"worker {number} dies, its request arrives", _accept(crashed, worker.provider), is_fault=True)


def _steps(world: World, number: int, worker: Worker, programme: Programme) -> Iterator[Edge]:
    name = f"worker {number}: "
    match worker.at:
        case "idle":
            if not world.acked:
                yield Edge(name + "pulls", _with(world, number, Worker("claim", provider=FIRST)))
        case "post":
            yield Edge(name + f"sends to {worker.provider}", _with(world, number, worker._replace(at="posting")))
        case "posting":
            yield from _outcomes(world, number, worker, programme, name)
        case "look up":
            yield _look_up(world, number, worker, programme, name)
        case "dead-letter":
            yield Edge(name + "dead-letters", _with(world, number, worker._replace(at="park"))._replace(dead=True))
        case "ack":
            yield Edge(name + "acks", _with(world, number, Worker())._replace(acked=True))
        case _:
            yield from _asks_ledger(world, number, worker, programme, name)


def _outcomes(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Iterator[Edge]:
    taken = _accept(world, worker.provider)
    yield Edge(name + "is accepted", _with(taken, number, worker._replace(at="record sent")))
    doubtful = worker._replace(at="fail over" if programme.takes_unknown_for_refusal else "record doubt")
    if world.budget.unknown:
        yield Edge(name + "is accepted, unheard", _spend(_with(taken, number, doubtful), "unknown"), is_fault=True)
        yield Edge(name + "gets no answer", _spend(_with(world, number, doubtful), "unknown"), is_fault=True)
    if world.budget.refusals:
        refused = _spend(world, "refusals")
        for word, at in (("finds the provider down", "fail over"), ("hears a refusal", "record refused")):
            yield Edge(name + word, _with(refused, number, worker._replace(at=at)), is_fault=True)


def _look_up(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Edge:
    """Ask honestly; absence counts once nothing sent before the doubt can still arrive."""
    if world.accepted[worker.provider == SECOND]:
        return Edge(name + "finds it", _with(world, number, worker._replace(at="settle")))
    is_impatient = programme.on_doubt == "resend" or programme.believes_absence_at_once
    if not is_impatient and any(other.at in ("post", "posting") for other in world.workers):
        return Edge(name + "waits for word", _with(world, number, Worker()))
    at = "dead-letter" if programme.on_doubt == "hold" else "clear"
    return Edge(name + "finds nothing", _with(world, number, worker._replace(at=at)))


def _asks_ledger(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Iterator[Edge]:
    entry, then, is_known = _call(world.entry, worker, programme)
    if is_known and not worker.is_known:
        world = world._replace(workers=tuple(other._replace(is_known=False) for other in world.workers))
    yield Edge(name + worker.at, _with(world, number, then)._replace(entry=entry))
    if world.budget.lost:
        again = _with(world, number, worker._replace(is_known=is_known))._replace(entry=entry)
        yield Edge(f"{name}{worker.at}, answer lost", _spend(again, "lost"), is_fault=True)


def _call(known: Known, worker: Worker, programme: Programme) -> tuple[Known, Worker, bool]:
    """Return the entry and the worker after the call, and whether the entry now carries this claim's id."""
    key = (known, worker)
    if key not in programme.cache:
        entry = _entry(known, claim_id="this" if worker.is_known else "another")
        try:
            after, then = _record(entry, worker, programme.claim)
        except ClaimLostError:
            after, then = entry, Worker()
        is_known = worker.at == "claim" and after is not None and after.claim_id == "this"
        programme.cache[key] = _known(after), then, is_known
    result: tuple[Known, Worker, bool] = programme.cache[key]
    return result


def _entry(known: Known, *, claim_id: str) -> Entry | None:
    if known.state == "absent":
        return None
    lease_ends = LEASE if known.is_leased else NOW
    return Entry(
        State(known.state), known.token, "d", claim_id, known.provider, lease_ends=lease_ends, parked=known.parked
    )


def _known(entry: Entry | None) -> Known:
    return (
        Known()
        if entry is None
        else Known(entry.state.value, entry.token, entry.provider, entry.lease_ends > NOW, entry.parked)
    )


def _record(entry: Entry | None, worker: Worker, claim: Callable[..., Step[Answer]]) -> tuple[Entry | None, Worker]:
    provider, own = worker.provider, Claim(MAIL, worker.token, "this", worker.provider)
    match worker.at:
        case "claim":
            step = claim(entry, NOW, mail_id=MAIL, digest="d", claim_id="this", provider=provider, lease=LEASE)
            return step.entry, _after_claim(step.answer)
        case "settle" | "record sent":
            return protocol.sent(entry, NOW, provider=provider, message_id="m", evidence="").entry, Worker("ack")
        case "clear":
            return protocol.clear_doubt(entry, NOW, token=worker.token, reason="").entry, Worker()
        case "park":
            return protocol.park(entry, NOW, token=worker.token).entry, Worker("ack")
        case "record doubt":
            return protocol.doubt(entry, NOW, claim=own, reason="").entry, Worker()
        case "record refused":
            return protocol.refuse(entry, NOW, claim=own, reason="").entry, Worker("dead-letter", worker.token)
        case "fail over" if provider == FIRST:
            moved = protocol.move(entry, NOW, claim=own, provider=SECOND)
            return moved.entry, worker._replace(at="post", provider=SECOND)
        case "fail over":
            return protocol.release(entry, NOW, claim=own, reason="").entry, Worker()
    raise AssertionError(worker.at)


def _after_claim(answer: Answer) -> Worker:
    match answer:
        case Claimed(claim):
            return Worker("post", claim.token, claim.provider)
        case Settled(entry) | Doubtful(entry) if entry.state is State.SENT or entry.parked:
            return Worker("ack")
        case Settled(entry):
            return Worker("dead-letter", entry.token)
        case Doubtful(entry):
            return Worker("look up", entry.token, entry.provider)
        case Held() | Conflict() | Poisonous():
            return Worker()


def _plain(world: World, are_alike: bool) -> World:
    """Number the tokens anew from 0, and order workers that *are_alike*."""
    workers, entry = world.workers, world.entry
    tokens = sorted({0, entry.token, *(worker.token for worker in workers)})
    if len(tokens) <= entry.token:
        workers = tuple(worker._replace(token=tokens.index(worker.token)) for worker in workers)
        entry = entry._replace(token=tokens.index(entry.token))
    return world._replace(workers=tuple(sorted(workers)) if are_alike else workers, entry=entry)


def _with(world: World, number: int, worker: Worker) -> World:
    return world._replace(workers=(*world.workers[:number], worker, *world.workers[number + 1 :]))


def _accept(world: World, provider: str) -> World:
    first, second = world.accepted
    return world._replace(accepted=(first + 1, second) if provider == FIRST else (first, second + 1))


def _spend(world: World, what: str) -> World:
    left = getattr(world.budget, what)
    return world if left == ENDLESS else world._replace(budget=world.budget._replace(**{what: left - 1}))
