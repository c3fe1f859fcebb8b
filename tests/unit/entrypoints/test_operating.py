"""What operators do, without a command or a page around it: on stores in memory."""

import pytest

from postman.adapters.memory.documents import MemoryDocuments
from postman.adapters.memory.suppressions import MemorySuppressions
from postman.config import parse_providers
from postman.core.document import Document
from postman.core.suppression import Suppression, SuppressionReason
from postman.entrypoints.operating.progress import Progress
from postman.entrypoints.operating.providers import (
    Changed,
    Edit,
    change_document,
    enabling,
    forcing,
    removing,
    setting,
    weighing,
)
from postman.entrypoints.operating.suppressions import expiry, standing_suppressions, suppress
from postman.entrypoints.operating.words import checked_why, tagged
from postman.errors import ConfigError, DocumentChangedError
from postman.testing.clock import FakeClock

NOW = 1_700_000_000.0
FIRST = """\
# ours
[[provider]]
name = "a"
kind = "sendgrid"
api_key = "env:A"

[[provider]]
name = "b"
kind = "sendgrid"
api_key = "env:B"
"""


class Contested(MemoryDocuments):
    """Somebody else is quicker with a change, *times* times."""

    times = 0

    async def change(self, document: Document) -> None:
        if self.times:
            self.times -= 1
            latest = await self.read() or Document()
            text = latest.text.replace('"b"', '"b"\nweight = 4', 1) if "weight = 4" not in latest.text else latest.text
            await super().change(latest.change(text, by="bob", at=NOW, what="weight 4 for b"))
        await super().change(document)


@pytest.fixture
async def documents() -> Contested:
    made = Contested()
    await made.change(Document().change(FIRST, by="ann", at=NOW, what="the first one"))
    return made


async def change(documents: MemoryDocuments, edit: Edit, *, why: str = "", only: int | None = None) -> Changed:
    return await change_document(
        documents, edit, place="here", by="eve@host", why=why, only=only, time=lambda: NOW + 60.0
    )


class TestProviders:
    async def test_a_change_keeps_who_when_and_why_and_what_others_wrote(self, documents: Contested) -> None:
        changed = await change(documents, weighing("b", 3), why="cheaper")
        latest = await documents.read()

        assert latest == changed.after
        assert changed.after.number == changed.before.number + 1 == 2
        last = changed.after.changes[-1]
        assert (last.by, last.at, last.what) == ("eve@host", NOW + 60.0, "weight 3 for b: cheaper")
        assert "# ours" in changed.after.text

    async def test_where_somebody_was_quicker_both_changes_hold(self, documents: Contested) -> None:
        documents.times = 1
        changed = await change(documents, forcing("a", "open"))
        a, b = parse_providers(changed.after.text, "here")

        assert (a.breaker, b.weight) == ("open", 4)
        assert [each.by for each in changed.after.changes] == ["ann", "bob", "eve@host"]

    async def test_it_gives_up_where_somebody_is_quicker_again_and_again(self, documents: Contested) -> None:
        documents.times = 100
        with pytest.raises(DocumentChangedError):
            await change(documents, forcing("a", "open"))

        assert documents.times == 95

    async def test_a_number_that_is_no_more_changes_nothing(self, documents: Contested) -> None:
        with pytest.raises(DocumentChangedError, match="number 1 by now"):
            await change(documents, weighing("a", 2), only=7)

        assert (await change(documents, weighing("a", 2), only=1)).after.number == 2

    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            (weighing("a", -1), "weight"),
            (removing("nobody"), "no provider 'nobody'"),
            (setting("a", {"base_url": "https://elsewhere.example"}), "another account"),
            (setting("a", {"breaker": "ajar"}), "line 6: provider a: breaker"),
            (setting("a", {"colour": "red"}), "unknown option colour"),
        ],
    )
    async def test_what_is_wrong_is_refused_and_nothing_is_changed(
        self, documents: Contested, edit: Edit, says: str
    ) -> None:
        with pytest.raises(ConfigError, match=says):
            await change(documents, edit)

        assert (await documents.read() or Document()).number == 1

    async def test_a_breaker_that_is_left_to_itself_again_leaves_no_trace_in_the_text(
        self, documents: Contested
    ) -> None:
        await change(documents, forcing("a", "closed"))
        assert 'breaker = "closed"' in (await documents.read() or Document()).text
        await change(documents, forcing("a", "auto"))

        assert (await documents.read() or Document()).text == FIRST
        with pytest.raises(ConfigError, match="auto, open, closed"):
            forcing("a", "ajar")

    async def test_its_maker_hears_that_no_provider_is_left_and_is_not_let_disable_the_last(
        self, documents: Contested
    ) -> None:
        assert not (await change(documents, forcing("a", "open"))).warning
        assert "all wait" in (await change(documents, forcing("b", "open"))).warning
        assert "(b)" in (await change(documents, enabling("a", enabled=False))).warning
        with pytest.raises(ConfigError, match="no provider is enabled"):
            await change(documents, enabling("b", enabled=False))


class TestSuppressions:
    async def test_keys_are_added_for_a_while_or_for_good_and_what_is_there_for_longer_stays(self) -> None:
        clock = FakeClock(wall=NOW)
        store = MemorySuppressions(clock)
        await store.put(Suppression("c" * 64, SuppressionReason.COMPLAINED, NOW - 9))
        short, stood = await suppress(store, ["a" * 64, "c" * 64], now=NOW, days=2, why="asked us")

        assert (short.reason, short.expires_at, short.detail) == (SuppressionReason.ADDED, NOW + 172_800, "asked us")
        assert stood.reason is SuppressionReason.COMPLAINED
        assert [each.key[0] for each in await standing_suppressions(store, NOW)] == ["c", "a"]
        assert [each.key[0] for each in await standing_suppressions(store, NOW + 172_800)] == ["c"]

    @pytest.mark.parametrize("days", [0, -1, 1e6, float("nan")])
    def test_a_wrong_number_of_days_is_refused(self, days: float) -> None:
        with pytest.raises(ConfigError, match="days"):
            expiry(NOW, days)


def test_progress_tells_the_rate_and_the_rest_once_there_is_something_to_tell() -> None:
    progress = Progress(begun=10.0)
    assert (progress.rate(10.0), progress.left(10.0)) == (0.0, None)
    progress.tell(50, 200)
    assert (progress.rate(20.0), progress.left(20.0)) == (5.0, 30.0)
    progress.tell(60, None)
    assert (progress.rate(20.0), progress.left(20.0)) == (6.0, None)


def test_a_reason_has_no_address_and_who_has_none_where_none_may_stand() -> None:
    for wrong in ("for ann@example.org", "x" * 201, "two\nlines"):
        with pytest.raises(ConfigError, match="--why"):
            checked_why(wrong)
    assert "@" not in tagged("ann@example.org")
    assert tagged("ann@example.org") == tagged("ann@example.org") != tagged("bob@example.org")
    assert tagged("night shift") == "night shift"
