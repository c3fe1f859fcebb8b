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

from postman.core import protocol
from postman.core.ids import MailId
from postman.core.protocol import Answer, Claim, Claimed, Conflict, Doubtful, Entry, Held, Settled, State, Step
from postman.errors import ClaimLostError

MAIL = MailId("mail")
FIRST, SECOND = "alpha", "beta"
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


class World(NamedTuple):
    """All there is. Tokens are ranks: only which is equal and which is later matters."""

    entry: Entry | None
    acked: bool
    dead: bool
    accepted: tuple[int, int]
    workers: tuple[Worker, ...]
    budget: Budget


class Edge(NamedTuple):
    label: str
    world: World
    is_fault: bool = False


class BrokenPromiseError(Exception):
    """A promise does not hold after a step."""


@dataclass(frozen=True)
class Programme:
    """What workers do. The switches are mistakes, by which the search shows that it finds something."""

    on_doubt: str = "ask"
    claim: Callable[..., Step[Answer]] = protocol.claim
    takes_unknown_for_refusal: bool = False
    believes_absence_at_once: bool = False
    cache: dict[Any, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Finding:
    """What the search saw; *broken* is empty where every promise holds."""

    states: int
    broken: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join([self.broken or "all promises hold", *self.steps])


def explore(programme: Programme, *, workers: int, budget: Budget) -> Finding:
    """Return the shortest way to a broken promise, or none after every state was seen."""
    start = World(None, acked=False, dead=False, accepted=(0, 0), workers=(Worker(),) * workers, budget=budget)
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    fair_into: dict[World, list[World]] = {}
    frontier = deque([start])
    while frontier:
        world = frontier.popleft()
        try:
            edges = [edge._replace(world=_ranked(edge.world)) for edge in _edges(world, programme)]
        except BrokenPromiseError as broken:
            return Finding(len(came_from), str(broken), (*_way(came_from, world), f"then: {broken}"))
        for label, after, is_fault in edges:
            if not is_fault:
                fair_into.setdefault(after, []).append(world)
            if after not in came_from:
                came_from[after] = (world, label)
                if problem := _problem(world, after, programme, budget):
                    return Finding(len(came_from), problem, _way(came_from, after))
                frontier.append(after)
    stuck = set(came_from) - _can_finish(came_from, fair_into)
    for world in came_from:
        if world in stuck:
            return Finding(len(came_from), "without further faults it never ends", _way(came_from, world))
    return Finding(len(came_from), "", ())


def _way(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    steps = []
    while (before := came_from[world]) is not None:
        world, label = before
        steps.append(label)
    return tuple(reversed(steps))


def _can_finish(worlds: Any, fair_into: dict[World, list[World]]) -> set[World]:
    ended = [world for world in worlds if world.acked and (_state(world) is State.SENT or world.dead)]
    reached = set(ended)
    while ended:
        for world in fair_into.get(ended.pop(), ()):
            if world not in reached:
                reached.add(world)
                ended.append(world)
    return reached


def _problem(before: World, after: World, programme: Programme, budget: Budget) -> str:
    """Say which promise *after* breaks, or nothing."""
    posting = [worker.token for worker in after.workers if worker.at == "posting"]
    doubts = sum(budget[:3]) - sum(after.budget[:3])
    copies = sum(after.accepted)
    if after.acked and not after.dead and _state(after) is not State.SENT:
        return "lost: acknowledged, and neither sent nor dead-lettered"
    if _state(after) is State.SENT and copies == 0:
        return "recorded as sent, and nobody accepted it"
    if _state(before) is State.SENT and _state(after) is not State.SENT:
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
    if world.entry is not None and world.entry.state is State.SENDING and world.entry.lease_ends > NOW:
        lapsed = world._replace(entry=replace(world.entry, lease_ends=NOW))
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
            yield Edge(name + "dead-letters", _with(world, number, Worker("park"))._replace(dead=True))
        case "ack":
            yield Edge(name + "acks", _with(world, number, Worker())._replace(acked=True))
        case _:
            yield from _asks_ledger(world, number, worker, programme, name)


def _outcomes(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Iterator[Edge]:
    taken = _accept(world, worker.provider)
    yield Edge(name + "is accepted", _with(taken, number, worker._replace(at="record sent")))
    unknown = "fail over" if programme.takes_unknown_for_refusal else "record doubt"
    if world.budget.unknown:
        doubtful = worker._replace(at=unknown)
        yield Edge(name + "is accepted, unheard", _spend(_with(taken, number, doubtful), "unknown"), is_fault=True)
        yield Edge(name + "gets no answer", _spend(_with(world, number, doubtful), "unknown"), is_fault=True)
    if world.budget.refusals:
        refused = _spend(world, "refusals")
        yield Edge(
            name + "finds the provider down",
            _with(refused, number, worker._replace(at="fail over")),
            is_fault=True,
        )
        yield Edge(
            name + "hears that the mail is refused",
            _with(refused, number, worker._replace(at="record refused")),
            is_fault=True,
        )


def _look_up(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Edge:
    """Ask honestly; absence counts once nothing sent before the doubt can still arrive."""
    found = world.accepted[worker.provider == SECOND] > 0
    on_its_way = any(other.at in ("post", "posting") for other in world.workers)
    if found:
        at = "settle"
    elif programme.on_doubt == "resend" or (programme.on_doubt == "ask" and programme.believes_absence_at_once):
        at = "clear"
    elif on_its_way:
        return Edge(name + "waits for word", _with(world, number, Worker()))
    else:
        at = "clear" if programme.on_doubt == "ask" else "dead-letter"
    word = "finds it" if found else "finds nothing"
    return Edge(name + word, _with(world, number, worker._replace(at=at)))


def _asks_ledger(world: World, number: int, worker: Worker, programme: Programme, name: str) -> Iterator[Edge]:
    entry, then, is_known = _call(world.entry, worker, programme)
    label = name + worker.at
    if is_known and not worker.is_known:
        world = world._replace(workers=tuple(other._replace(is_known=False) for other in world.workers))
    yield Edge(label, _with(world, number, then)._replace(entry=entry))
    if world.budget.lost:
        again = _with(world, number, worker._replace(is_known=is_known))._replace(entry=entry)
        yield Edge(label + ", answer lost", _spend(again, "lost"), is_fault=True)


def _call(entry: Entry | None, worker: Worker, programme: Programme) -> tuple[Entry | None, Worker, bool]:
    """Return the entry and the worker after the call, and whether the entry now carries this claim's id."""
    key = (entry, worker)
    if key not in programme.cache:
        known = entry and replace(entry, claim_id="this" if worker.is_known else "another")
        try:
            after, then = _record(known, worker, programme)
        except ClaimLostError:
            after, then = known, Worker()
        is_known = worker.at == "claim" and after is not None and after.claim_id == "this"
        programme.cache[key] = _bare(after), then, is_known
    result: tuple[Entry | None, Worker, bool] = programme.cache[key]
    return result


def _record(entry: Entry | None, worker: Worker, programme: Programme) -> tuple[Entry | None, Worker]:
    match worker.at:
        case "claim":
            step = programme.claim(
                entry, NOW, mail_id=MAIL, digest="d", claim_id="this", provider=worker.provider, lease=LEASE
            )
            if isinstance(step.answer, Claimed) and entry is not None and entry.state is State.SENT:
                raise BrokenPromiseError("claimed after it was recorded as sent")
            return step.entry, _after_claim(step.answer)
        case "settle" | "record sent":
            return protocol.sent(entry, NOW, provider=worker.provider, message_id="m", evidence="").entry, Worker("ack")
        case "clear":
            return protocol.clear_doubt(entry, NOW, token=worker.token, reason="").entry, Worker()
        case "park":
            return protocol.park(entry, NOW).entry, Worker("ack")
        case _:
            return _record_own(entry, worker, Claim(MAIL, worker.token, "this", worker.provider))


def _record_own(entry: Entry | None, worker: Worker, claim: Claim) -> tuple[Entry | None, Worker]:
    match worker.at:
        case "record doubt":
            return protocol.doubt(entry, NOW, claim=claim, reason="").entry, Worker()
        case "record refused":
            return protocol.refuse(entry, NOW, claim=claim, reason="").entry, Worker("dead-letter")
        case "fail over" if worker.provider == FIRST:
            moved = protocol.move(entry, NOW, claim=claim, provider=SECOND)
            return moved.entry, worker._replace(at="post", provider=SECOND)
        case "fail over":
            return protocol.release(entry, NOW, claim=claim, reason="").entry, Worker()
    raise AssertionError(worker.at)


def _after_claim(answer: Answer) -> Worker:
    match answer:
        case Claimed(claim):
            return Worker("post", claim.token, claim.provider)
        case Settled(entry) | Doubtful(entry) if entry.state is State.SENT or entry.parked:
            return Worker("ack")
        case Settled():
            return Worker("dead-letter")
        case Doubtful(entry):
            return Worker("look up", entry.token, entry.provider)
        case Held() | Conflict():
            return Worker()


def _bare(entry: Entry | None) -> Entry | None:
    """Forget what no decision rests on, so that states which behave alike are one."""
    return entry and replace(entry, history=(), since=NOW, attempts=0, reason="", message_id="", claim_id="")


def _ranked(world: World) -> World:
    if world.entry is None:
        return world
    tokens = {0, world.entry.token, *(worker.token for worker in world.workers)}
    ranks = {token: rank for rank, token in enumerate(sorted(tokens))}
    if len(ranks) == world.entry.token + 1:
        return world
    workers = tuple(worker._replace(token=ranks[worker.token]) for worker in world.workers)
    return world._replace(entry=replace(world.entry, token=ranks[world.entry.token]), workers=workers)


def _state(world: World) -> State | None:
    return world.entry and world.entry.state


def _with(world: World, number: int, worker: Worker) -> World:
    return world._replace(workers=(*world.workers[:number], worker, *world.workers[number + 1 :]))


def _accept(world: World, provider: str) -> World:
    first, second = world.accepted
    return world._replace(accepted=(first + 1, second) if provider == FIRST else (first, second + 1))


def _spend(world: World, what: str) -> World:
    left = getattr(world.budget, what)
    return world if left == ENDLESS else world._replace(budget=world.budget._replace(**{what: left - 1}))
