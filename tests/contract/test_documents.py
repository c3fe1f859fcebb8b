"""Every store of the providers' document keeps its contract; and a file, which is none, does what people expect."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.file_documents import FileDocuments
from postman.adapters.firestore import Database
from postman.adapters.firestore import open_documents as open_firestore
from postman.adapters.firestore._single import SingleDocument
from postman.adapters.memory import MemoryDocuments
from postman.adapters.sqlite import open_documents as open_sqlite
from postman.core.document import Document
from postman.errors import ConfigError, DocumentChangedError, DocumentError
from postman.ports.documents import Documents
from postman.ports.opening import Cluster
from postman.testing.documents_suite import DocumentsSuite, OpenDocumentsAgain, next_document
from postman.testing.emulators import Emulators

now = asyncio.run


@pytest.fixture
async def documents(open_again: OpenDocumentsAgain) -> AsyncIterator[Documents]:
    opened = open_again()
    yield opened
    await opened.aclose()


class TestMemory(DocumentsSuite):
    @pytest.fixture
    def open_again(self) -> OpenDocumentsAgain:
        one = MemoryDocuments()
        return lambda: one


class TestSqlite(DocumentsSuite):
    @pytest.fixture
    def open_again(self, tmp_path: Path) -> OpenDocumentsAgain:
        return lambda: open_sqlite(str(tmp_path / "postman.db"), Cluster(SystemClock()))

    async def test_clusters_in_one_file_do_not_see_each_other(self, documents: Documents, tmp_path: Path) -> None:
        other = open_sqlite(str(tmp_path / "postman.db"), Cluster(SystemClock(), prefix="other"))
        await documents.change(next_document())
        assert await other.read() is None
        await other.aclose()


class TestFirestore(DocumentsSuite):
    @pytest.fixture
    def open_again(self, firestore: Emulators, project: str, prefix: str) -> OpenDocumentsAgain:
        return lambda: open_firestore("", Cluster(SystemClock(), project=project, prefix=prefix))

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "is damaged"),
            ("[]", "is damaged: it is no object"),
            ('{"schema": 1}', "is damaged: text"),
            ('{"schema": 1, "text": "t", "number": -1}', "is damaged: number"),
            ('{"schema": 1, "text": "t", "number": 1, "changes": [{"number": 1}]}', "is damaged: at"),
            ('{"schema": 2}', "newer postman's"),
        ],
    )
    async def test_what_cannot_be_read_is_told_and_never_replaced(
        self, documents: Documents, project: str, prefix: str, text: str, says: str
    ) -> None:
        stored = SingleDocument(
            Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"]), f"{prefix}-config/providers", "document"
        )
        await stored.change(lambda _: text, late=AssertionError())
        told = rf"document {prefix}-config/providers of database \(default\).* {says}"
        with pytest.raises(DocumentError, match=told):
            await documents.read()
        with pytest.raises(DocumentError, match=told):
            await documents.change(next_document())
        assert await stored.read() == text
        await stored.aclose()


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "providers.toml"
        path.write_text("# first\n")
        path.chmod(0o640)
        return path

    def test_a_change_replaces_the_file_as_a_whole_and_keeps_its_mode(self, path: Path) -> None:
        documents = FileDocuments(path)
        now(documents.change(now(documents.read()).change("# second ä\n", by="kim", at=1.0, what="w")))
        assert path.read_text(encoding="utf-8") == "# second ä\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert list(path.parent.iterdir()) == [path]

    def test_a_link_stays_a_link(self, path: Path) -> None:
        link = path.with_name("link.toml")
        link.symlink_to(path)
        documents = FileDocuments(link)
        now(documents.change(now(documents.read()).change("# second\n", by="kim", at=1.0, what="w")))
        assert link.is_symlink()
        assert path.read_text() == "# second\n"

    def test_what_somebody_else_wrote_meanwhile_is_not_replaced(self, path: Path) -> None:
        documents = FileDocuments(path)
        seen = now(documents.read())
        path.write_text("# theirs\n")
        with pytest.raises(DocumentChangedError):
            now(documents.change(seen.change("# ours\n", by="kim", at=1.0, what="w")))
        assert path.read_text() == "# theirs\n"

    def test_one_that_is_written_anew_as_it_was_has_its_old_number(self, path: Path) -> None:
        documents = FileDocuments(path)
        first = now(documents.read())
        path.write_text("# other\n")
        assert now(documents.read()).number != first.number
        path.write_text("# first\n")
        assert now(documents.read()) == first == Document("# first\n", first.number)

    @pytest.mark.parametrize(
        ("data", "says"), [(b"\xff", "utf-8"), (b"x" * (1 << 20) + b"y", "1 MiB"), (None, "No such file")]
    )
    def test_what_cannot_be_read_is_named(self, path: Path, data: bytes | None, says: str) -> None:
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        with pytest.raises(ConfigError, match=rf"providers\.toml.*{says}"):
            now(FileDocuments(path).read())
