"""What one seed draws: how big the cluster is, and how strong each fault, each on its own.

Fixed rates miss what needs one fault often and another never; here each fault's base rate is multiplied by 0, 0, 1, 4
or 10, so that the seeds differ as much as outages do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

from tests.simulation.mails import Letter, draw_letters

__all__ = ["FAULTS", "Plan", "ProviderPlan", "draw_plan"]

FAULTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "ledger.lost": 0.01,
        "ledger.muted": 0.015,
        "ledger.slow": 0.02,
        "ledger.late": 0.01,
        "ledger.twice": 0.02,
        "ledger.echo": 0.004,
        "queue.lost": 0.01,
        "queue.muted": 0.01,
        "queue.slow": 0.02,
        "queue.late": 0.005,
        "queue.twice": 0.01,
        "queue.dropped": 0.02,
        "queue.early": 0.02,
        "queue.copied": 0.02,
        "queue.disorder": 0.1,
        "provider.mute": 0.03,
        "provider.deaf": 0.02,
        "provider.late": 0.02,
        "provider.broken": 0.02,
        "provider.reset": 0.03,
        "provider.unreachable": 0.02,
        "provider.down": 0.03,
        "provider.throttled": 0.02,
        "provider.credentials": 0.002,
        "provider.quota": 0.002,
        "provider.slow": 0.04,
        "look_up.fails": 0.05,
        "event.early": 0.08,
        "event.late": 0.08,
        "event.twice": 0.08,
        "mail.malformed": 0.03,
        "mail.conflict": 0.03,
        "mail.refused": 0.05,
        "mail.unwelcome": 0.04,
        "mail.poison": 0.02,
        "mail.expires": 0.05,
        "mail.copies": 0.05,
        "second.crash": 1 / 250,
        "second.pause": 1 / 250,
        "second.stop": 1 / 400,
        "second.skew": 1 / 300,
        "second.cut": 1 / 400,
        "second.ledger_away": 1 / 600,
        "second.queue_away": 1 / 600,
        "second.outage": 1 / 200,
        "second.replay": 1 / 50,
    }
)
"""Probabilities per call, per mail, per hand-out; those of the world's events per second, and process or provider."""

LATER: Final[Mapping[str, float]] = MappingProxyType({"second.layout": 1 / 100})
"""Faults that came later, each drawn by dice of its own: the seeds stay what they were."""

NOTHING: Final[Mapping[str, float]] = MappingProxyType({})

_STRENGTHS: Final = (0.0, 0.0, 1.0, 4.0, 10.0)
_MOST: Final = 0.6
_CALM: Final = 0.05
_BAD_MAILS: Final = ("mail.malformed", "mail.conflict", "mail.refused", "mail.unwelcome", "mail.copies")


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    """One provider; times in seconds."""

    name: str
    timeout: float
    look_up_after: float
    """0: it cannot be asked."""
    lag: float
    """What it accepted is found so long after."""
    lateness: float
    """A request that its sender gave up arrives so much later at the most."""
    idempotent_for: float
    """0: it has no idempotency keys."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed is; times in seconds."""

    seed: int
    rates: Mapping[str, float]
    workers: int
    shards: int
    concurrency: int
    providers: tuple[ProviderPlan, ...]
    letters: tuple[Letter, ...]
    chaos: float
    ack_deadline: float
    window: float
    longest_skew: float
    is_calm: bool
    """Whether nothing but bad mails befalls it: then no good one may wait."""
    shuffles: bool
    """Whether also the steps of one process that are ready together are done in any order."""


def draw_plan(seed: int, emphasis: Mapping[str, float] = NOTHING) -> Plan:
    """Return what *seed* stands for, with the rates of *emphasis* in place of those it draws."""
    random = Random(f"{seed} plan")
    rates = {fault: min(_MOST, base * random.choice(_STRENGTHS)) for fault, base in FAULTS.items()}
    is_calm = random.random() < _CALM
    if is_calm:
        rates = {fault: rates[fault] for fault in _BAD_MAILS}
    else:
        rates |= {fault: base * Random(f"{seed} {fault}").choice(_STRENGTHS) for fault, base in LATER.items()}
    rates = {fault: rate for fault, rate in {**rates, **emphasis}.items() if rate}
    providers = tuple(_draw_provider(random, f"p{number}") for number in range(random.randint(2, 3)))
    chaos = random.uniform(40.0, 90.0)
    return Plan(
        seed=seed,
        rates=rates,
        workers=random.randint(2, 3),
        shards=random.randint(2, 4),
        concurrency=random.choice((2, 4, 10)),
        providers=providers,
        letters=tuple(draw_letters(random, rates, [provider.name for provider in providers], chaos)),
        chaos=chaos,
        ack_deadline=random.choice((10.0, 20.0, 30.0)),
        window=random.choice((10.0, 30.0)),
        longest_skew=random.choice((0.0, 1.0, 60.0)),
        is_calm=is_calm,
        shuffles=random.random() < 0.5,
    )


def _draw_provider(random: Random, name: str) -> ProviderPlan:
    timeout = random.uniform(1.0, 4.0)
    look_up_after = random.choice((0.0, 15.0, 30.0))
    return ProviderPlan(
        name=name,
        timeout=timeout,
        look_up_after=look_up_after,
        lag=random.random() * 0.35 * look_up_after,
        lateness=random.random() * 0.35 * (look_up_after or 30.0),
        idempotent_for=random.choice((0.0, 0.0, 200.0, 600.0)),
    )
