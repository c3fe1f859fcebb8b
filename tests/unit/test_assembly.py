"""What did not change in the document stays what it was: its connections, its breaker, its limit."""

from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from postman.config import ProviderEntry, parse_providers
from postman.errors import ConfigError
from postman.runtime.failover import Lineup
from postman.testing.clock import FakeClock
from postman.wiring.providers import Assembly, ObservedProviders, check_providers, event_sources

TEXT = """\
[[provider]]
name = "a"
kind = "sendgrid"
api_key = "env:A"
weight = 3

[[provider]]
name = "b"
kind = "mailgun"
domain = "mg.example.org"
api_key = "env:B"
"""


def entries(text: str, *, key: str = "SG.one") -> Sequence[ProviderEntry]:
    return [
        entry.with_keys({"api_key": SecretStr(key if entry.spec.name == "a" else "key-b")})
        for entry in parse_providers(text, "here")
    ]


@pytest.fixture
def assembly() -> Assembly:
    return Assembly(FakeClock())


@pytest.fixture
def first(assembly: Assembly) -> Lineup:
    return assembly.lineup("1", entries(TEXT))


def test_the_same_document_makes_the_same_routes(assembly: Assembly, first: Lineup) -> None:
    again = assembly.lineup("2", entries("# a line more\n" + TEXT))
    assert list(again.routes) == list(first.routes)
    assert (again.version, again.has_other_keys) == ("2", False)


def test_another_weight_keeps_provider_breaker_and_limit(assembly: Assembly, first: Lineup) -> None:
    first.routes[0].failures_in_row = 2
    a, b = assembly.lineup("2", entries(TEXT.replace("weight = 3", "weight = 1"))).routes
    was = first.routes[0]
    assert (a.provider, a.breaker, a.limit, a.failures_in_row) == (was.provider, was.breaker, was.limit, 2)
    assert (a.weight, was.weight) == (1.0, 3.0), "the old one is what it was, as long as it is used"
    assert b is first.routes[1]


def test_another_concurrency_starts_another_limit(assembly: Assembly, first: Lineup) -> None:
    a = assembly.lineup("2", entries(TEXT.replace("weight = 3", "concurrency = 2"))).routes[0]
    assert a.limit is not first.routes[0].limit
    assert a.breaker is first.routes[0].breaker


def test_another_weight_lets_nobody_send_faster_than_its_rate(assembly: Assembly) -> None:
    limited = TEXT.replace("weight = 3", "weight = 3\nrate = 0.1")
    before = assembly.lineup("1", entries(limited)).routes[0]
    before.enter(1_000.0)
    reweighed = assembly.lineup("2", entries(limited.replace("weight = 3", "weight = 1"))).routes[0]
    assert reweighed.wait(1_000.0) == before.wait(1_000.0) > 0
    faster = assembly.lineup("3", entries(limited.replace("rate = 0.1", "rate = 50"))).routes[0]
    assert faster.wait(1_000.0) == 0.0


def test_another_key_opens_the_provider_anew_with_a_breaker_that_knows_nothing(
    assembly: Assembly, first: Lineup
) -> None:
    first.routes[0].breaker.lock_out(600.0)
    again = assembly.lineup("2", entries(TEXT, key="SG.two"))
    assert again.has_other_keys
    assert again.routes[0].provider is not first.routes[0].provider
    assert again.routes[0].is_closed
    assert again.routes[1] is first.routes[1]


def test_a_disabled_one_is_asked_and_comes_back_with_its_connections(assembly: Assembly, first: Lineup) -> None:
    retired = assembly.lineup("2", entries(TEXT.replace("weight = 3", "enabled = false")))
    assert [route.name for route in retired.routes] == ["b"]
    assert list(retired.asked) == [first.routes[0].provider]
    back = assembly.lineup("3", entries(TEXT))
    assert back.routes[0].provider is first.routes[0].provider


def test_a_disabled_one_without_a_key_is_left_out(assembly: Assembly) -> None:
    found = parse_providers(TEXT.replace("weight = 3", "enabled = false"), "here")
    lineup = assembly.lineup("1", [found[0], *entries(TEXT)[1:]])
    assert (len(lineup.routes), len(lineup.asked)) == (1, 0)


def test_what_cannot_be_opened_is_named_with_its_line_and_changes_nothing(assembly: Assembly, first: Lineup) -> None:
    with pytest.raises(ConfigError, match="here: line 8: provider b: kind: 'pigeon' is not known"):
        assembly.lineup("2", entries(TEXT.replace("mailgun", "pigeon").replace("weight = 3", "weight = 1")))
    assert list(assembly.lineup("3", entries(TEXT)).routes) == list(first.routes)


async def test_what_an_adapter_finds_wrong_is_told_with_its_line(assembly: Assembly) -> None:
    """Whoever opens it: to send, to try it, to hear from it, to stand before it."""
    text = TEXT.replace("weight = 3", 'base_url = "ftp://example.org"')
    read = [each.with_keys({"webhook_key": SecretStr("no key")}) for each in entries(text)]
    address = "^here: line 2: provider a: base_url must be"
    with pytest.raises(ConfigError, match=address):
        assembly.lineup("1", read)
    with pytest.raises(ConfigError, match=address):
        await check_providers(read)
    with pytest.raises(ConfigError, match="here: line 2: provider a: webhook_key: is not"):
        event_sources(read)
    with pytest.raises(ConfigError, match=address):
        ObservedProviders().of(read)
