"""The Firestore store keeps the layout's contract, on the emulator, and what only Firestore promises."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from postman.adapters.clock import SystemClock
from postman.adapters.firestore import Database, FirestoreLayouts, open_layouts
from postman.adapters.firestore._calls import Calls
from postman.errors import ConfigError, LayoutChangedError, LayoutError, LedgerUnavailableError
from postman.ports.layouts import Layouts
from postman.ports.opening import Cluster
from postman.testing.emulators import Emulators
from postman.testing.grpc_proxy import GrpcProxy, StatusCode
from postman.testing.layouts_suite import LayoutsSuite, OpenAgain, first_layout, full_layout
from postman.testing.waiting import wait_until


@pytest.fixture
def open_again(firestore: Emulators, project: str, prefix: str) -> OpenAgain:
    return lambda: open_layouts("", Cluster(SystemClock(), project=project, prefix=prefix))


@pytest.fixture
async def layouts(open_again: OpenAgain) -> AsyncIterator[Layouts]:
    opened = open_again()
    yield opened
    await opened.aclose()


class TestFirestoreLayouts(LayoutsSuite):
    """The contract."""


class TestOnTheWire:
    """What it asks of Firestore, and what becomes of lost answers."""

    @pytest.fixture
    async def proxy(self, firestore: Emulators) -> AsyncIterator[GrpcProxy]:
        async with GrpcProxy(firestore.environment["FIRESTORE_EMULATOR_HOST"]) as running:
            yield running

    @pytest.fixture
    async def ours(self, proxy: GrpcProxy, project: str, prefix: str) -> AsyncIterator[FirestoreLayouts]:
        """The same store as *layouts*, behind the proxy."""
        opened = FirestoreLayouts(Database(project, emulator=proxy.address), collection=f"{prefix}-layout")
        yield opened
        await opened.aclose()

    async def test_a_look_is_one_read_and_a_change_one_read_and_one_write(
        self, ours: Layouts, proxy: GrpcProxy
    ) -> None:
        """Each process looks every few seconds, so that a look must be cheap."""
        await ours.read()
        assert proxy.calls == {"BatchGetDocuments": 1}
        await ours.change(first_layout())
        assert proxy.calls == {"BatchGetDocuments": 2, "BatchWrite": 1}

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize(
        "code", [StatusCode.UNAVAILABLE, StatusCode.ABORTED, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL]
    )
    async def test_a_change_whose_answer_was_lost_is_not_made_again(
        self, ours: Layouts, layouts: Layouts, proxy: GrpcProxy, code: StatusCode, *, after: bool
    ) -> None:
        """The next look tells whether it was made."""
        proxy.fail("BatchWrite", code=code, after=after, times=1)
        with pytest.raises(LedgerUnavailableError):
            await ours.change(first_layout())
        assert proxy.calls["BatchWrite"] == 1
        assert await ours.read() == await layouts.read() == (first_layout() if after else None)

    @pytest.mark.parametrize("epoch", [1, 2])
    async def test_a_change_is_refused_where_another_came_between_its_look_and_its_write(
        self, ours: Layouts, layouts: Layouts, proxy: GrpcProxy, epoch: int
    ) -> None:
        if epoch > 1:
            await layouts.change(first_layout())
        theirs = replace(first_layout(), epoch=epoch, changed_at=2.0)
        proxy.delay("BatchWrite", 0.5, times=1)
        changing = asyncio.ensure_future(ours.change(replace(full_layout(), epoch=epoch)))
        await wait_until(lambda: proxy.calls["BatchWrite"] == 1, within=5.0)
        await layouts.change(theirs)
        with pytest.raises(LayoutChangedError):
            await changing
        assert await ours.read() == theirs


async def test_the_layout_is_one_small_document(layouts: Layouts, project: str, prefix: str) -> None:
    await layouts.change(full_layout())
    fields = await _fields(project, f"{prefix}-layout/current")
    assert set(fields) == {"layout"}
    assert len(fields["layout"].string_value) < 300


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "is damaged"), ('{"schema": 1}', "is damaged: consume"), ('{"schema": 2}', "newer postman's")],
    ids=["empty", "incomplete", "newer"],
)
async def test_what_cannot_be_read_is_told_and_never_replaced(
    layouts: Layouts, project: str, prefix: str, text: str | None, says: str
) -> None:
    """To go by the settings instead would leave mails in shards that nobody reads."""
    await _write(project, f"{prefix}-layout/current", text)
    told = rf"document {prefix}-layout/current of database \(default\).* {says}"
    with pytest.raises(LayoutError, match=told):
        await layouts.read()
    with pytest.raises(LayoutError, match=told):
        await layouts.change(first_layout())
    fields = await _fields(project, f"{prefix}-layout/current")
    assert fields["layout"].string_value == (text or "")


async def test_clusters_in_one_database_do_not_see_each_other(layouts: Layouts, project: str, prefix: str) -> None:
    other = open_layouts("", Cluster(SystemClock(), project=project, prefix=f"{prefix}-other"))
    await layouts.change(first_layout())
    assert await other.read() is None
    await other.aclose()


async def test_an_unreachable_server_is_told_in_the_ports_words() -> None:
    """Within seconds, for a change as for a look."""
    away = FirestoreLayouts(Database("nowhere", emulator="127.0.0.1:1"), collection="test-layout")
    with pytest.raises(LedgerUnavailableError, match="Firestore database"):
        await away.change(first_layout())
    with pytest.raises(LedgerUnavailableError, match="Firestore database"):
        await away.read()
    await away.aclose()


def test_a_layout_needs_what_its_ledger_needs() -> None:
    with pytest.raises(ConfigError, match="POSTMAN_PROJECT"):
        open_layouts("", Cluster(SystemClock()))
    with pytest.raises(ConfigError, match="no name of a Firestore database"):
        open_layouts("No/Name", Cluster(SystemClock(), project="p"))


async def _fields(project: str, path: str) -> Any:
    database = Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"])
    calls, name = Calls(database), f"{database.path}/documents/{path}"
    found = await calls.read([name])
    await calls.aclose()
    return found[name].document.fields


async def _write(project: str, path: str, text: str | None) -> None:
    """Write by the back door what is no layout."""
    from google.cloud.firestore_v1.types import Write

    database = Database(project, emulator=os.environ["FIRESTORE_EMULATOR_HOST"])
    calls, write = Calls(database), Write.pb()()
    write.update.name = f"{database.path}/documents/{path}"
    if text is not None:
        write.update.fields["layout"].string_value = text
    await calls.batch_write([write])
    await calls.aclose()
