"""The layout in Firestore, beside the ledger: the document `{prefix}-layout/current`.

A look is one read. A change is one read and one write, conditional on what was
read, so that of two changes from the same epoch one is refused; nothing is tried
again. Where the write's answer is lost, the next look tells. `layout` (JSON) is
the only field, and needs no index. Settings are the ledger's.
"""

from typing import Any, Final

from google.cloud.firestore_v1.types import Write

from postman.adapters._layouts import check_follows, dump_layout, load_layout
from postman.adapters.firestore._calls import CallFailedError, Calls, Code, Snapshot
from postman.adapters.firestore._channel import Database
from postman.adapters.firestore.ledger import database_of
from postman.core.layout import Layout
from postman.errors import LayoutChangedError
from postman.ports.opening import Cluster

__all__ = ["FirestoreLayouts", "open_layouts"]

_LIMIT: Final = 6.0
_LATE: Final = frozenset({Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.NOT_FOUND, Code.ABORTED})
"""Outcomes of a write that was not made because another came before it."""


def open_layouts(location: str, cluster: Cluster) -> "FirestoreLayouts":
    """Open the layout in database *location* (empty: the default one) of the cluster's project."""
    return FirestoreLayouts(database_of(location, cluster), collection=f"{cluster.prefix}-layout")


class FirestoreLayouts:
    """See the module."""

    def __init__(self, database: Database, *, collection: str) -> None:
        self._database = database
        self._name = f"{database.path}/documents/{collection}/current"
        self._place = f"document {collection}/current of database {database.name}"
        self._calls = Calls(database)

    async def read(self) -> Layout | None:
        async with self._calls.within(_LIMIT):
            return self._layout_in(await self._look())

    async def change(self, layout: Layout) -> None:
        async with self._calls.within(_LIMIT):
            snapshot = await self._look()
            check_follows(self._layout_in(snapshot), layout)
            [outcome] = await self._calls.batch_write([self._replacement(layout, snapshot)])
        if outcome.code in _LATE:
            raise LayoutChangedError("the shards are being changed by somebody else: look again")
        if outcome.code is not Code.OK:
            raise CallFailedError(self._database, outcome.code)

    async def ensure(self) -> None:
        """Nothing: Firestore makes a collection with its first document."""

    async def aclose(self) -> None:
        await self._calls.aclose()

    async def _look(self) -> Snapshot:
        return (await self._calls.read([self._name]))[self._name]

    def _layout_in(self, snapshot: Snapshot) -> Layout | None:
        if snapshot.document is None:
            return None
        return load_layout(snapshot.document.fields["layout"].string_value, self._place)

    def _replacement(self, layout: Layout, snapshot: Snapshot) -> Any:
        """Return the write that puts *layout* where *snapshot* still holds."""
        write = Write.pb()()
        write.update.name = self._name
        write.update.fields["layout"].string_value = dump_layout(layout).decode()
        if snapshot.document is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(snapshot.document.update_time)
        return write
