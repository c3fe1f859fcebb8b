"""What a document says of a breaker holds once the whole document is gone by, and in what a worker reports."""

from collections.abc import Mapping

import pytest
from pydantic import SecretStr

from postman.config import ProviderEntry, parse_providers
from postman.core.fleet.documents import document_of, report_of
from postman.core.fleet.reports import ProviderStanding, WorkerReport
from postman.errors import ConfigError
from postman.runtime.failover import Failover
from postman.testing.clock import FakeClock
from postman.wiring.providers import Assembly

A = '[[provider]]\nname = "a"\nkind = "sendgrid"\napi_key = "env:A"\n'
B = '[[provider]]\nname = "b"\nkind = "sendgrid"\napi_key = "env:B"\n'


def entries(text: str) -> list[ProviderEntry]:
    return [entry.with_keys({"api_key": SecretStr("SG.key")}) for entry in parse_providers(text, "here")]


class Worker:
    """What a worker makes of documents."""

    def __init__(self, text: str) -> None:
        clock = FakeClock()
        self.assembly = Assembly(clock)
        self.failover = Failover(self.assembly.lineup("1", entries(text)).routes, clock=clock)

    def change(self, text: str) -> None:
        lineup = self.assembly.lineup("2", entries(text))
        self.failover.change(lineup.routes, lineup.asked)

    def standings(self) -> Mapping[str, tuple[str, str]]:
        return {name: (each.breaker, each.forced) for name, each in self.failover.standings().items()}


def test_a_breaker_is_held_as_the_document_says_from_the_start_and_after_each_change() -> None:
    worker = Worker(A + 'breaker = "open"\n' + B)
    assert worker.standings() == {"a": ("held_open", "open"), "b": ("closed", "")}
    worker.change(A + 'breaker = "closed"\n' + B)
    assert worker.standings()["a"] == ("held_closed", "closed")
    worker.change(A + B)
    assert worker.standings()["a"] == ("closed", "")


def test_a_document_that_is_refused_holds_nobody() -> None:
    worker = Worker(A + B)
    with pytest.raises(ConfigError):
        worker.change(A + 'breaker = "open"\n' + B + 'colour = "red"\n')

    assert worker.standings() == {"a": ("closed", ""), "b": ("closed", "")}


def test_another_timeout_and_a_forced_breaker_come_together() -> None:
    worker = Worker(A + B)
    worker.change(A + 'timeout = 3.0\nbreaker = "open"\n' + B)

    assert worker.standings()["a"] == ("held_open", "open")


@pytest.mark.parametrize("value", ['"ajar"', "true", '""', '"OPEN"'])
def test_what_is_no_way_to_hold_a_breaker_is_refused_by_its_line(value: str) -> None:
    with pytest.raises(ConfigError, match="here: line 5: provider a: breaker"):
        parse_providers(A + f"breaker = {value}\n", "here")


def test_a_report_tells_who_is_forced_and_one_of_an_older_worker_tells_nobody() -> None:
    standing = ProviderStanding("held_open", forced="open")
    report = WorkerReport("w", "h", 1, "1", 0.0, 1.0, 5, 30.0, providers={"a": standing})
    document = document_of(report)
    assert report_of(document).providers == {"a": standing}

    del document["providers"]["a"]["forced"]
    assert report_of(document).providers["a"].forced == ""
