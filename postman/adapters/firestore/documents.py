"""The providers' document in Firestore: `{prefix}-config/providers`.

`document` (JSON) is its only field, and needs no index. Settings are the ledger's.
"""

from postman.adapters._documents import check_follows, dump_document, load_document
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._single import SingleDocument
from postman.adapters.firestore.ledger import database_of
from postman.core.document import Document
from postman.errors import DocumentChangedError
from postman.ports.opening import Cluster

__all__ = ["FirestoreDocuments", "open_documents"]


def open_documents(location: str, cluster: Cluster) -> "FirestoreDocuments":
    """Open the providers' document in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreDocuments(database_of(location, cluster), collection=f"{cluster.prefix}-config")


class FirestoreDocuments:
    """See the module."""

    def __init__(self, database: Database, *, collection: str) -> None:
        self._stored = SingleDocument(database, f"{collection}/providers", "document")

    async def read(self) -> Document | None:
        return self._document_in(await self._stored.read())

    async def change(self, document: Document) -> None:
        def follow(latest: str | None) -> str:
            check_follows(self._document_in(latest), document)
            return dump_document(document).decode()

        late = DocumentChangedError("the providers are being changed by somebody else: look again")
        await self._stored.change(follow, late=late)

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def aclose(self) -> None:
        await self._stored.aclose()

    def _document_in(self, text: str | None) -> Document | None:
        return None if text is None else load_document(text, self._stored.place)
