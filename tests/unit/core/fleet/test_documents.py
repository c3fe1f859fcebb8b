"""A report as a document: whole there and back, generous to other versions, strict with nonsense."""

from typing import Any

import orjson
import pytest

from postman.core.fleet.documents import SCHEMA, DamagedReportError, document_of, report_of
from postman.testing.roster_suite import full_report, plain_report

REPORT = full_report("w-1", 1_700_000_000.5)


def _document() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(document_of(REPORT)))
    return found


@pytest.mark.parametrize("report", [REPORT, plain_report("w-2", 5.0)], ids=["full", "plain"])
def test_a_report_survives_the_way_through_json(report: Any) -> None:
    assert report_of(orjson.loads(orjson.dumps(document_of(report)))) == report


def test_unknown_fields_of_a_newer_postman_are_ignored_at_every_level() -> None:
    document = _document() | {"mood": "fine"}
    document["windows"][0]["mood"] = 1
    document["windows"][0]["work"]["alpha"]["mood"] = 1
    document["providers"]["alpha"]["mood"] = 1
    assert report_of(document) == REPORT


def test_missing_fields_have_their_defaults() -> None:
    """An older postman may not have known them."""
    document = document_of(plain_report("w-1", 5.0))
    for name in ("windows", "baseline", "providers", "local_fault", "leaving", "version", "past", "latest"):
        del document[name]
    report = report_of(document)
    assert (report.windows, report.baseline, report.providers, report.leaving) == ((), {}, {}, "")
    assert (report.past, report.latest) == ((), ())


def test_no_more_than_the_latest_ten_windows_are_read() -> None:
    """Somebody else's endless record costs every reader no more than ours."""
    document = _document()
    document["windows"] = document["windows"] * 5
    assert report_of(document).windows == REPORT.windows


@pytest.mark.parametrize("document", [None, [], "text", 5, {}, {"schema": SCHEMA}, {"schema": "1"}])
def test_what_is_no_report_at_all_is_refused(document: object) -> None:
    with pytest.raises(DamagedReportError):
        report_of(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", SCHEMA + 1),
        ("worker", 7),
        ("worker", None),
        ("at", "now"),
        ("at", None),
        ("at", float("nan")),
        ("window", True),
        ("slots", float("inf")),
        ("windows", {}),
        ("windows", ["x"]),
        ("windows", [{"ends": 1.0}]),
        ("windows", [{"ends": 1.0, "seconds": 1.0, "work": {"a": {"done": "many"}}}]),
        ("windows", [{"ends": 1.0, "seconds": 1.0, "work": {5: {}}}]),
        ("baseline", []),
        ("providers", {"a": {}}),
        ("providers", {"a": {"breaker": "open", "limit": None}}),
        ("leaving", 1),
        ("past", [1]),
        ("past", {"b": 5, "n": 1, "r": [-7]}),
        ("latest", {}),
        ("latest", [["m"]]),
    ],
)
def test_a_damaged_field_is_named_and_nothing_else_is_raised(field: str, value: object) -> None:
    with pytest.raises(DamagedReportError):
        report_of(_document() | {field: value})


def test_a_report_of_a_newer_schema_says_so() -> None:
    with pytest.raises(DamagedReportError, match="of a newer postman"):
        report_of(_document() | {"schema": 2})
