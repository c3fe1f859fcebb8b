"""The contract of the port `Documents`, as tests.

Subclass `DocumentsSuite` and give it two fixtures: *documents*, a store without a
document, ready for use, and *open_again*, which opens the same store once more,
as another process would; what it opens the suite closes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from postman.core.document import MOST_CHANGES, Document
from postman.errors import DocumentChangedError
from postman.ports.documents import Documents

__all__ = ["DocumentsSuite", "OpenDocumentsAgain", "next_document"]

OpenDocumentsAgain = Callable[[], Documents]

_RIVALS = 20


def next_document(latest: Document | None = None, text: str = 'ä = "ß"\n', *, by: str = "kim@desk") -> Document:
    """Return a change of *latest*, with a time to the last digit."""
    return (latest or Document()).change(text, by=by, at=1_700_000_000.1234567, what="add ä")


class DocumentsSuite:
    """See the module."""

    async def test_nobody_put_one_there_yet(self, documents: Documents) -> None:
        """That there is no document is no error."""
        assert await documents.read() is None

    async def test_a_document_is_read_as_it_was_written(self, documents: Documents) -> None:
        """Text, number and who changed what when arrive, to the last digit."""
        written = next_document()
        await documents.change(written)
        assert await documents.read() == written

    async def test_a_long_document_with_all_its_changes_fits(self, documents: Documents) -> None:
        """Of more changes than are kept, the latest are."""
        document = Document()
        for number in range(MOST_CHANGES + 3):
            document = next_document(document, f"# {number}\n" + "x" * 100_000)
            await documents.change(document)
        found = await documents.read()
        assert found == document
        assert [change.number for change in found.changes] == list(range(4, MOST_CHANGES + 4))

    async def test_a_change_is_seen_by_all(self, documents: Documents, open_again: OpenDocumentsAgain) -> None:
        """Whoever looks after the change was made sees it, however often he looked before."""
        other = open_again()
        assert await other.read() is None
        document = None
        for text in ("a", "b", ""):
            document = next_document(document, text)
            await documents.change(document)
            assert await other.read() == document
        await other.aclose()

    @pytest.mark.parametrize("number", [0, 1, 2, 4, 100])
    async def test_a_change_of_another_number_is_refused_and_changes_nothing(
        self, documents: Documents, number: int
    ) -> None:
        """Whoever made his change from an older document did not know what he changed."""
        first = next_document()
        stands = next_document(first, "second")
        await documents.change(first)
        await documents.change(stands)
        with pytest.raises(DocumentChangedError):
            await documents.change(replace(stands, number=number, text="late"))
        assert await documents.read() == stands

    @pytest.mark.parametrize("number", [0, 2])
    async def test_the_first_document_is_number_one(self, documents: Documents, number: int) -> None:
        """Where there is none, only the first may come."""
        with pytest.raises(DocumentChangedError):
            await documents.change(replace(next_document(), number=number))
        assert await documents.read() is None

    async def test_of_many_at_once_one_wins(self, documents: Documents) -> None:
        """The others are told that they came late, and may look again."""
        rivals = [next_document(by=f"rival {number}") for number in range(_RIVALS)]
        outcomes = await asyncio.gather(*(documents.change(each) for each in rivals), return_exceptions=True)
        won = [rival for rival, outcome in zip(rivals, outcomes, strict=True) if outcome is None]
        lost = [outcome for outcome in outcomes if outcome is not None]
        assert len(won) == 1
        assert all(isinstance(each, DocumentChangedError) for each in lost), lost
        assert await documents.read() == won[0]

    async def test_making_what_is_there_changes_nothing(self, documents: Documents) -> None:
        """`postman init` runs as often as one likes."""
        await documents.ensure()
        written = next_document()
        await documents.change(written)
        await documents.ensure()
        assert await documents.read() == written

    async def test_closing_twice_is_fine(self, open_again: OpenDocumentsAgain) -> None:
        """What is closed stays closed."""
        other = open_again()
        await other.aclose()
        await other.aclose()
