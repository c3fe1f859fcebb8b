"""Every store of the providers' document keeps its contract; and a file, which is none, does what people expect."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.file_documents import FileDocuments
from postman.adapters.firestore import Database
from postman.adapters.firestore import open_documents as open_firestore
from postman.adapters.firestore._single import SingleDocument
from postman.adapters.memory import MemoryDocuments
from postman.adapters.sqlite import open_documents as open_sqlite
from postman.core.document import Document
from postman.errors import ConfigError, DocumentChangedError, DocumentError, LedgerUnavailableError
from postman.ports.documents import Documents
from postman.ports.opening import Cluster
from postman.testing.documents_suite import DocumentsSuite, OpenDocumentsAgain, next_document
from postman.testing.emulators import Emulators

now = asyncio.run


def put(documents: Documents, text: str, *, after: Document | None = None) -> None:
    """Change *after*, or what is there, into *text*."""
    latest = after or now(documents.read())
    assert latest is not None
    now(documents.change(latest.change(text, by="kim", at=1.0, what="w")))


async def both(path: Path, seen: Document | None, texts: Sequence[str]) -> list[BaseException | None]:
    """Change *seen* into each of *texts* at the same time; return what each raised."""
    assert seen is not None
    changes = [seen.change(text, by="kim", at=1.0, what="w") for text in texts]
    return await asyncio.gather(*(FileDocuments(path).change(each) for each in changes), return_exceptions=True)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the lock of *folder*, as another change does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be a user who is not root and owns nothing."""
    os.seteuid(23456)
    try:
        yield
    finally:
        os.seteuid(0)


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
        put(documents, "# second ä\n")
        assert path.read_text(encoding="utf-8") == "# second ä\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert list(path.parent.iterdir()) == [path]

    def test_a_link_stays_a_link(self, path: Path) -> None:
        link = path.with_name("link.toml")
        link.symlink_to(path)
        documents = FileDocuments(link)
        put(documents, "# second\n")
        assert link.is_symlink()
        assert path.read_text() == "# second\n"

    def test_what_somebody_else_wrote_meanwhile_is_not_replaced(self, path: Path) -> None:
        documents = FileDocuments(path)
        seen = now(documents.read())
        path.write_text("# theirs\n")
        with pytest.raises(DocumentChangedError):
            put(documents, "# ours\n", after=seen)
        assert path.read_text() == "# theirs\n"

    def test_one_that_is_written_anew_as_it_was_has_its_old_number(self, path: Path) -> None:
        documents = FileDocuments(path)
        first = now(documents.read())
        assert first is not None
        path.write_text("# other\n")
        other = now(documents.read())
        assert other is not None
        assert other.number != first.number
        path.write_text("# first\n")
        assert now(documents.read()) == first == Document("# first\n", first.number)

    def test_of_two_changes_at_once_one_is_refused(self, path: Path) -> None:
        """Also where both had looked before either wrote: none is lost without a word."""
        for number in range(20):
            seen = now(FileDocuments(path).read())
            texts = [f"# {number} {who}\n" for who in "ab"]
            done = now(both(path, seen, texts))
            assert sorted(map(type, done), key=str) == [type(None), DocumentChangedError]
            assert path.read_text() == texts[done.index(None)]

    def test_a_change_waits_for_another_only_so_long(self, path: Path) -> None:
        """One in the same folder, whoever makes it; a lock that is given back lets it through."""
        documents = FileDocuments(path, patience=0.0)
        with holding(path.parent), pytest.raises(LedgerUnavailableError, match="try again"):
            put(documents, "# second\n")
        assert path.read_text() == "# first\n"
        put(documents, "# second\n")
        assert path.read_text() == "# second\n"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
    def test_a_file_stays_its_owners_or_as_it_was(self) -> None:
        """Who reads it as its owner or group still can, after whoever's change; where that cannot be, there is none."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "providers.toml"
            path.write_text("# first\n")
            path.chmod(0o640)
            Path(folder).chmod(0o777)
            os.chown(path, 12345, 12346)
            put(FileDocuments(path), "# second\n")
            found = path.stat()
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12346, 0o640)
            path.chmod(0o644)
            with somebody_else(), pytest.raises(ConfigError, match="would not keep its owner"):
                put(FileDocuments(path), "# third\n")
            assert path.read_text() == "# second\n"
            assert list(path.parent.iterdir()) == [path]

    def test_the_first_change_makes_a_missing_file_for_whoever_may_make_one(self, path: Path) -> None:
        """As open as its maker's umask has it; a reader alone is told that it is not there."""
        path.unlink()
        documents = FileDocuments(path)
        now(documents.ensure())
        assert now(documents.read()) is None
        assert not path.exists()
        before = os.umask(0o027)
        try:
            put(documents, "# first\n", after=Document())
        finally:
            os.umask(before)
        assert path.read_text() == "# first\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        with pytest.raises(DocumentChangedError):
            put(documents, "# another first\n", after=Document())

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
