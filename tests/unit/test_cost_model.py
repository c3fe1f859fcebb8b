"""The cost page follows from its counts, and the model from the price list, the code's periods and known sums."""

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore_v1 import types as firestore
from google.pubsub_v1 import types as pubsub

from postman.adapters.firestore import ledger
from postman.config import Settings
from postman.runtime import following, keys, providing, reporter, suppressed
from postman.runtime.courier import Limits
from postman.runtime.worker import WorkerSettings
from tests.benchmarks import cost_model as model
from tests.benchmarks.cost_counting import Tally, stored_size
from tests.benchmarks.cost_model import Amounts, Counts, Fleet, Item
from tests.benchmarks.cost_page import (
    COUNTED,
    IDLE,
    counted_table,
    derived_parts,
    expected_idle,
    read_counted,
    read_idle,
)
from tests.benchmarks.pages import part

_DOCS = Path(__file__).parents[2] / "docs"
_PAGE = (_DOCS / "costs.md").read_text(encoding="utf-8")
_COUNTED = read_counted(part(_PAGE, COUNTED))
_BY_SITUATION = {row.situation: row for row in _COUNTED}
_WELL = _COUNTED[0]
_MESSAGE = 2_250.0
"""Bytes of a mail in the sums that were made by hand."""
_SECONDS = 0.01
"""Of an instance a mail, in the same."""


def _by_hand(reads: float = 0.0, writes: float = 2.0, deletes: float = 1.0, deliveries: float = 1.0) -> Amounts:
    amounts = {
        Item.PUBSUB: (1.0 + deliveries) * _MESSAGE,
        Item.READ: reads,
        Item.WRITE: writes,
        Item.DELETE: deletes,
    }
    return {**amounts, **model.instance(_SECONDS)}


def _pushed(seconds: float) -> Amounts:
    busy = {Item.BUSY_VCPU: seconds, Item.BUSY_MEMORY: 0.5 * seconds, Item.REQUEST: 1.0}
    return model.together(_by_hand(reads=1.0), busy, model.together(model.instance(_SECONDS), times=-1.0))


@pytest.mark.parametrize(
    ("amounts", "sum_by_hand"),
    [
        pytest.param(_by_hand(), 2.18, id="two writes, a delete"),
        pytest.param(_by_hand(reads=1.0), 2.48, id="a read more"),
        pytest.param(_by_hand(writes=1.0, deletes=0.0), 1.18, id="one write, never deleted"),
        pytest.param(_by_hand(writes=0.04, deletes=0.0), 0.32, id="a document for fifty mails"),
        pytest.param(_by_hand(reads=1.0, deliveries=16.0), 3.71, id="16 filtered subscriptions"),
        pytest.param(_by_hand(reads=1.0, deliveries=64.0), 7.64, id="64 filtered subscriptions"),
        pytest.param(_pushed(0.3), 10.34, id="pushed one at a time"),
        pytest.param(_pushed(0.3 / 40), 2.95, id="pushed forty at a time"),
    ],
)
def test_a_million_mails_cost_what_was_reckoned_by_hand(amounts: Amounts, sum_by_hand: float) -> None:
    assert model.MILLION * model.dollars(amounts) == pytest.approx(sum_by_hand, abs=0.006)


def test_the_columns_of_a_bill_are_its_sum() -> None:
    amounts = dict.fromkeys(Item, 1e6)

    assert sum(model.by_part(amounts).values()) == pytest.approx(model.dollars(amounts))


def test_an_instance_costs_31_dollars_a_month() -> None:
    assert model.dollars(model.instance(model.MONTH)) == pytest.approx(31.17, abs=0.01)


def test_a_small_request_is_charged_as_a_kilobyte() -> None:
    assert [model.charged(size) for size in (0, 999, 1_000, 1_001)] == [1_000, 1_000, 1_000, 1_001]


@pytest.mark.parametrize(("rate", "minutes"), [(10.0, 0.0), (500.0, 0.0), (750.0, 5.0), (1_125.0, 10.0)])
def test_an_empty_collection_takes_half_more_every_five_minutes(rate: float, minutes: float) -> None:
    assert model.ramp_minutes(rate) == pytest.approx(minutes)


def test_a_limit_is_reached_where_the_mails_of_a_second_take_all_of_it() -> None:
    limit = model.Limit("some", 300.0, "operations/s", {"writes": 1.0, "deletes": 1.0})

    assert limit.reached_at(_counts(writes=2.0)) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("rate", "cpu", "instances"),
    [
        pytest.param(0.1, 6.0, 2, id="one may fail"),
        pytest.param(1_001.0, 6.0, 11, id="by CPU"),
        pytest.param(1_501.0, 1.0, 11, id="by places"),
    ],
)
def test_a_fleet_is_as_large_as_its_busiest_hour_wants(rate: float, cpu: float, instances: int) -> None:
    assert model.instances_for(rate, _counts(cpu=cpu)) == instances


def test_each_step_into_a_naive_design_costs_more() -> None:
    _, *sums = [model.dollars(amounts) for amounts in model.designs(_WELL, _COUNTED[-1]).values()]

    assert all(before < after for before, after in pairwise(sums))


def test_the_periods_of_the_model_are_those_of_the_code() -> None:
    fleet, settings = Fleet(1), Settings()

    assert fleet.layout_every == following.EVERY
    assert fleet.suppressions_every == suppressed._EVERY
    assert fleet.providers_every == providing.EVERY
    assert fleet.keys_every == keys.REFRESH
    assert fleet.report_every == settings.health_window
    assert fleet.shards == settings.shards
    assert fleet.pull_wait == WorkerSettings(Limits(1.0, 1.0)).pull_wait
    assert fleet.many == reporter._MANY
    assert settings.concurrency == model.PLACES
    assert ledger.RETENTION < model.KEPT * model.MONTH < ledger.RETENTION + 3 * model.DAY


@pytest.mark.parametrize(("processes", "windows"), [(1, 1), (20, 1), (30, 1), (31, 2), (100, 5)])
def test_a_large_fleet_reads_its_reports_more_rarely(processes: int, windows: int) -> None:
    """As the reporter does, which looks again at the first report after so many windows less a half."""
    assert model.windows_between_looks(Fleet(processes)) == windows


def test_a_document_has_the_size_of_the_example_that_firestore_gives() -> None:
    fields = {
        "type": {"string_value": "Personal"},
        "done": {"boolean_value": False},
        "priority": {"integer_value": 1},
        "description": {"string_value": "Learn Cloud Firestore"},
    }
    name = "projects/p/databases/(default)/documents/users/jeff/tasks/my_task_id"

    assert stored_size(firestore.Document.pb(firestore.Document(name=name, fields=fields))) == 147


def test_the_tally_knows_what_a_query_a_failed_write_and_an_empty_pull_are() -> None:
    tally = Tally()
    root = "projects/p/databases/d/documents/a-b-"
    writes = [{"update": {"name": f"{root}mails/{number}"}} for number in range(3)]

    tally.note(
        "BatchWrite",
        [_bytes(firestore.BatchWriteRequest(writes=writes))],
        [_bytes(firestore.BatchWriteResponse(status=[{"code": 0}, {"code": 6}, {"code": 0}]))],
    )
    tally.note(
        "RunQuery",
        [_bytes(firestore.RunQueryRequest(structured_query={"from_": [{"collection_id": "a-b-suppressions"}]}))],
        [_bytes(firestore.RunQueryResponse())],
    )
    tally.note("Pull", [_bytes(pubsub.PullRequest())], [_bytes(pubsub.PullResponse())])

    assert (tally.writes["mails"], tally.in_vain["mails"]) == (3, 1)
    assert tally.reads["suppressions"] == 1
    assert (tally.pulled, tally.empty_pulls) == (0, 1)
    assert tally.calls["Pull"] == 0


def test_the_tally_charges_a_message_with_its_attributes_its_id_and_its_time() -> None:
    tally = Tally()
    message = {"data": b"x" * 2_000, "attributes": {"mail_id": "abc"}, "message_id": "77"}

    tally.note(
        "Pull", [_bytes(pubsub.PullRequest())], [_bytes(pubsub.PullResponse(received_messages=[{"message": message}]))]
    )

    assert tally.pulled == 2_000 + 10 + 2 + 20


@pytest.mark.parametrize("name", derived_parts(_COUNTED))
def test_the_page_says_what_follows_from_its_counts(name: str) -> None:
    """Renew it with `./emulator.sh bench costs --derive`."""
    assert part(_PAGE, name) == derived_parts(_COUNTED)[name]


def test_the_counts_are_read_back_as_they_were_written() -> None:
    assert read_counted(counted_table(_COUNTED)) == _COUNTED


def test_an_idle_worker_was_counted_to_ask_as_often_as_its_settings_say() -> None:
    counted, expected = read_idle(part(_PAGE, IDLE)), expected_idle(Fleet(1))

    for field in fields(counted):
        assert getattr(counted, field.name) == pytest.approx(getattr(expected, field.name), rel=0.2), field.name


def test_the_counts_are_those_that_the_design_promises() -> None:
    """Two writes and no read a mail; a failover costs one write; a mail that comes again a write in vain and a read."""
    fail_over, again, event = (
        _BY_SITUATION[name] for name in ("2 % fail over", "each comes twice", "one event of each")
    )

    assert _WELL.writes == pytest.approx(2.0, abs=0.01)
    assert _WELL.in_vain == 0.0
    assert _WELL.reads < 0.01
    assert fail_over.writes - _WELL.writes == pytest.approx(0.02, abs=0.01)
    assert again.in_vain == pytest.approx(1.0, abs=0.05)
    assert again.reads == pytest.approx(1.0, abs=0.05)
    assert event.writes - _WELL.writes == pytest.approx(1.0, abs=0.01)
    assert event.reads - _WELL.reads == pytest.approx(1.0, abs=0.01)


def test_the_figure_is_there_and_names_the_designs() -> None:
    figure = (_DOCS / "figures" / "costs.svg").read_text(encoding="utf-8")

    assert [name for name in model.designs(_WELL, _COUNTED[-1]) if name not in figure.replace("&#39;", "'")] == []


def _counts(*, writes: float = 2.0, cpu: float = 1.0) -> Counts:
    return Counts("a situation", 1, 0.1, _MESSAGE, _MESSAGE, writes, 0.0, 0.0, 700.0, 3_000.0, 250.0, cpu)


def _bytes(message: Any) -> bytes:
    serialized: bytes = type(message).serialize(message)
    return serialized
