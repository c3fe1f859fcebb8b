"""In fair weather the simulated queues and ledger keep the contracts of their ports."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postman.testing.ledger import LedgerSuite
from postman.testing.queue import QueueSuite
from tests.simulation.ledger import LedgerStore, SimLedger
from tests.simulation.process import Process
from tests.simulation.queue import SimShards, Town
from tests.simulation.stage import Stage
from tests.simulation.watch import Watch

_NOT_MADE = frozenset({"unmade"})
"""Simulated queues need not be made."""


def _tests_of(suite: type) -> list[str]:
    return [
        name
        for name, test in inspect.getmembers(suite, inspect.iscoroutinefunction)
        if name.startswith("test_") and not _NOT_MADE & set(inspect.signature(test).parameters)
    ]


class _Scene:
    """What the suites ask for, by name."""

    def __init__(self) -> None:
        self.stage = Stage(0, {}, shuffles=True, traces=False)
        self.watch = _Unwatched(self.stage, [], {})
        self.process = Process(self.stage.loop, "here")
        self.town = Town(self.stage, self.watch, count=2, ack_deadline=10.0)
        self.shards = SimShards(self.stage, self.process, self.town)
        self.store = LedgerStore(self.stage, self.watch)

    def given(self, name: str) -> object:
        match name:
            case "clock":
                return self.process.clock
            case "shards":
                return self.shards
            case "queue":
                return self.shards.queue(0)
            case "open_again":
                return lambda: SimShards(self.stage, Process(self.stage.loop, "there"), self.town)
            case "ledger":
                return SimLedger(self.stage, self.process, self.store, self.stage.random("ledger"))
            case _:
                raise LookupError(name)


class _Unwatched(Watch):
    """The suites' mails are nobody's: there is nothing to judge."""

    def changed(self, *_: Any) -> None:
        """See nothing."""

    def acked(self, *_: Any, **__: Any) -> None:
        """See nothing."""

    def published(self, *_: Any, **__: Any) -> None:
        """See nothing."""

    def was_held(self, *_: Any) -> None:
        """See nothing."""


@pytest.mark.parametrize("name", _tests_of(QueueSuite))
def test_the_queues_keep_their_contract(name: str) -> None:
    _run(QueueSuite, name)


@pytest.mark.parametrize("name", _tests_of(LedgerSuite))
def test_the_ledger_keeps_its_contract(name: str) -> None:
    _run(LedgerSuite, name)


def _run(suite: type, name: str) -> None:
    for chosen in _cases(getattr(suite, name)):
        scene = _Scene()
        test = getattr(suite(), name)
        wanted = [each for each in inspect.signature(test).parameters if each not in chosen]
        given = {each: scene.given(each) for each in wanted}
        scene.stage.loop.run(test(**given, **chosen), scene.stage.lane)


def _cases(test: Callable[..., object]) -> Iterator[dict[str, object]]:
    """Yield what each mark `parametrize` of *test* gives, in all combinations."""
    cases: list[dict[str, object]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        names, values = mark.args[0].split(","), mark.args[1]
        rows = [value if len(names) > 1 else (value,) for value in values]
        cases = [case | dict(zip(names, row, strict=True)) for case in cases for row in rows]
    yield from cases
