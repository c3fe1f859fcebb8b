"""The providers' document in a SQLite file: one row for each cluster."""

from postman.adapters._documents import check_follows, dump_document, load_document
from postman.adapters.sqlite._single import SingleText
from postman.core.document import Document
from postman.ports.opening import Cluster

__all__ = ["SqliteDocuments", "open_documents"]


def open_documents(path: str, cluster: Cluster) -> "SqliteDocuments":
    """Open the providers' document in the file at *path*, or in the default one where it is empty."""
    return SqliteDocuments(path, cluster.prefix)


class SqliteDocuments:
    """See the module. What stands under another *prefix* in the same file is another cluster's."""

    def __init__(self, path: str, prefix: str) -> None:
        self._stored = SingleText(path, "documents", "document", prefix)

    async def read(self) -> Document | None:
        return self._document_in(await self._stored.read())

    async def change(self, document: Document) -> None:
        def follow(latest: bytes | None) -> bytes:
            check_follows(self._document_in(latest), document)
            return dump_document(document)

        await self._stored.change(follow)

    async def ensure(self) -> None:
        await self._stored.ensure()

    async def aclose(self) -> None:
        await self._stored.aclose()

    def _document_in(self, text: bytes | None) -> Document | None:
        return None if text is None else load_document(text, self._stored.place)
