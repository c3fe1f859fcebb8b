"""The layout in Firestore, beside the ledger: the document `{prefix}-layout/current`.

`layout` (JSON) is its only field, and needs no index. Settings are the ledger's.
"""

from postman.adapters._layouts import check_follows, dump_layout, load_layout
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore._single import SingleDocument
from postman.adapters.firestore.ledger import database_of
from postman.core.layout import Layout
from postman.errors import LayoutChangedError
from postman.ports.opening import Cluster

__all__ = ["FirestoreLayouts", "open_layouts"]


def open_layouts(location: str, cluster: Cluster) -> "FirestoreLayouts":
    """Open the layout in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreLayouts(database_of(location, cluster), collection=f"{cluster.prefix}-layout")


class FirestoreLayouts:
    """See the module."""

    def __init__(self, database: Database, *, collection: str) -> None:
        self._stored = SingleDocument(database, f"{collection}/current", "layout")

    async def read(self) -> Layout | None:
        return self._layout_in(await self._stored.read())

    async def change(self, layout: Layout) -> None:
        def follow(latest: str | None) -> str:
            check_follows(self._layout_in(latest), layout)
            return dump_layout(layout).decode()

        late = LayoutChangedError("the shards are being changed by somebody else: look again")
        await self._stored.change(follow, late=late)

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def aclose(self) -> None:
        await self._stored.aclose()

    def _layout_in(self, text: str | None) -> Layout | None:
        return None if text is None else load_layout(text, self._stored.place)
