"""What the console asks: the cluster's stores, each question shared by all who look."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from postman.config import Settings
from postman.core.document import Document
from postman.core.entry import Entry
from postman.core.fleet.reports import WorkerReport
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.core.suppression import Suppression
from postman.entrypoints.backlog import Gauge, Waiting
from postman.entrypoints.console.knowledge import EVERY, Knowledge, Known
from postman.entrypoints.console.records import Shelves
from postman.entrypoints.fleet import LOOK_BACK
from postman.ports.clock import Clock
from postman.ports.documents import Documents
from postman.ports.layouts import Layouts
from postman.ports.ledger import Ledger
from postman.ports.roster import Roster
from postman.ports.suppressions import Suppressions
from postman.runtime.resharding import look
from postman.wiring import (
    open_backlogs,
    open_documents,
    open_layouts,
    open_ledger,
    open_roster,
    open_suppressions,
    system_clock,
)

__all__ = ["Stores", "open_stores"]

_SLOWLY: float = 5 * EVERY
"""Seconds between two looks at what people change."""


class Stores:
    """The questions of the pages. Each answers None where the cluster keeps no such store."""

    def __init__(
        self,
        settings: Settings,
        knowledge: Knowledge,
        clock: Clock,
        *,
        ledger: Ledger,
        roster: Roster | None = None,
        gauge: Gauge | None = None,
        layouts: Layouts | None = None,
        documents: Documents | None = None,
        suppressions: Suppressions | None = None,
        shelves: Shelves | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.knowledge = knowledge
        self.ledger = ledger
        self.shelves = shelves
        self._roster = roster
        self._gauge = gauge
        self._layouts = layouts
        self._documents = documents
        self._suppressed = None if suppressions is None else _Suppressed(suppressions)

    async def entry(self, mail_id: MailId) -> Known[Entry | None]:
        """Return what the ledger knows of a mail."""
        return await self.knowledge.ask(("entry", mail_id), lambda: self.ledger.find(mail_id))

    async def reports(self) -> Known[Sequence[WorkerReport]] | None:
        """Return the workers' reports of the last hour."""
        roster = self._roster
        if roster is None:
            return None
        return await self.knowledge.ask("reports", lambda: roster.reports(self.clock.time() - LOOK_BACK))

    async def layout(self) -> Known[Layout]:
        """Return the latest layout; that of the settings where nobody ever changed one."""
        settled = Layout.of(self.settings.shards, hand=self.settings.shard_hand)
        layouts = self._layouts
        if layouts is None:
            return Known(settled, self.clock.time())
        return await self.knowledge.ask("layout", lambda: look(layouts, settled), every=_SLOWLY)

    async def waiting(self) -> Known[Waiting]:
        """Return what waits in the shards."""
        gauge = self._gauge or Gauge(None, self.clock)
        layout, reports = await asyncio.gather(self.layout(), self.reports())
        shards = range((layout.value or Layout.of(self.settings.shards)).top)
        said = (reports.value if reports else None) or ()
        return await self.knowledge.ask("waiting", lambda: gauge.look(shards, said))

    async def document(self) -> Known[Document | None] | None:
        """Return the providers' document."""
        documents = self._documents
        if documents is None:
            return None
        return await self.knowledge.ask("document", documents.read, every=_SLOWLY)

    async def counts(self) -> Known[Mapping[str, int]] | None:
        """Return how many mails are in doubt, and how many dead letters there are, by reason."""
        return None if self.shelves is None else await self.shelves.counts()

    async def suppressed(self) -> Known[Sequence[Suppression]] | None:
        """Return who gets no mail at present, latest first."""
        listed = self._suppressed
        if listed is None:
            return None
        return await self.knowledge.ask("suppressed", lambda: listed.read(self.clock.time()), every=_SLOWLY)


class _Suppressed:
    """A copy of the list, of which only changes are asked for."""

    def __init__(self, suppressions: Suppressions) -> None:
        self._suppressions = suppressions
        self._cursor = ""
        self._known: dict[str, Suppression] = {}

    async def read(self, now: float) -> Sequence[Suppression]:
        has_more = True
        while has_more:
            changes = await self._suppressions.changes(self._cursor)
            self._known.update({each.key: each for each in changes.suppressions})
            self._cursor, has_more = changes.cursor, changes.has_more
        self._known = {key: each for key, each in self._known.items() if each.holds_at(now)}
        return sorted(self._known.values(), key=lambda each: each.since, reverse=True)


@asynccontextmanager
async def open_stores(settings: Settings, clock: Clock | None = None) -> AsyncIterator[Stores]:
    """Open what the settings name, and close it after; no connection is made yet, and none of it needs to answer."""
    clock = clock or system_clock()
    knowledge = Knowledge(clock)
    async with AsyncExitStack() as stack:
        ledger = open_ledger(settings, clock=clock)
        roster, layouts = open_roster(settings, clock=clock), open_layouts(settings, clock=clock)
        suppressions, gauge = (
            open_suppressions(settings, clock=clock),
            Gauge(open_backlogs(settings, clock=clock), clock),
        )
        documents = open_documents(settings, clock) if settings.providers else None
        shelves = Shelves.opened(settings, knowledge, clock)
        for store in (ledger, roster, layouts, suppressions, gauge, documents, shelves):
            if store is not None:
                stack.push_async_callback(store.aclose)
        stack.push_async_callback(knowledge.aclose)
        yield Stores(
            settings,
            knowledge,
            clock,
            ledger=ledger,
            roster=roster,
            gauge=gauge,
            layouts=layouts,
            documents=documents,
            suppressions=suppressions,
            shelves=shelves,
        )
