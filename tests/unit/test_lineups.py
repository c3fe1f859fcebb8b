"""What a worker makes of its document is made once, also of a document that is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from postman.config import ProviderEntry, Settings
from postman.errors import ConfigError
from postman.runtime.pushworker import check_timeout
from postman.testing.clock import FakeClock
from postman.wiring.equipment import Lineups

GOOD = """\
[[provider]]
name = "a"
kind = "sendgrid"
api_key = "env:A"
"""
WRONG = (
    """\
[[provider]]
name = "gone"
kind = "sendgrid"
api_key = "env:GONE"
enabled = false

"""
    + GOOD
    + 'colour = "red"\n'
)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "providers.toml"
    path.write_text(GOOD)
    return path


def write(document: Path, text: str) -> None:
    document.write_text(text)


@pytest.fixture
def lineups(document: Path) -> Lineups:
    return Lineups(Settings(providers=str(document)), {"A": "SG.one"}, FakeClock())


async def test_a_refused_document_is_tried_once_and_refused_for_the_same_reason_as_long_as_it_stands(
    lineups: Lineups, document: Path
) -> None:
    await lineups.first()
    write(document, WRONG)
    reasons = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ConfigError) as caught:
                await lineups.next()
            reasons.append(str(caught.value))

    assert reasons == [f"{document}: line 8: provider a: unknown option colour"] * 3
    tried = [log for log in logs if log["event"] == "retired_not_asked" and log["reason"] == "its key cannot be read"]
    assert len(tried) == 1


async def test_a_refused_document_that_is_taken_back_changes_nothing_and_the_next_one_is_tried(
    lineups: Lineups, document: Path
) -> None:
    await lineups.first()
    write(document, WRONG)
    with pytest.raises(ConfigError):
        await lineups.next()
    write(document, GOOD)
    assert await lineups.next() is None

    write(document, WRONG.replace('colour = "red"', "weight = 2"))
    found = await lineups.next()
    assert found is not None
    assert [route.weight for route in found.routes] == [2.0]
    await lineups.aclose()


async def test_providers_that_a_worker_cannot_work_with_are_refused_before_they_are_opened(document: Path) -> None:
    def accept(entries: Sequence[ProviderEntry]) -> None:
        check_timeout(max(entry.spec.timeout for entry in entries), 30.0)

    environ = {"POSTMAN_PROVIDERS": str(document), "A": "SG.a"}
    lineups = Lineups(Settings.from_env(environ), environ, FakeClock(), accept=accept)
    first = await lineups.first()
    write(document, GOOD + "timeout = 27\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="ACK_DEADLINE: 30 s are too few"):
            await lineups.next()
    write(document, GOOD + "timeout = 26\n")
    assert (await lineups.next() or first).routes[0].provider.timeout == 26.0
    await lineups.aclose()
