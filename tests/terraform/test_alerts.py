"""Alerts and charts ask for what is really counted, and what is counted is really logged."""

import ast
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import pytest

from tests.terraform.runs import ROOT, State

PAGE: Final = ROOT / "docs" / "terraform.md"
RUNBOOK: Final = ROOT / "docs" / "runbook.md"

LEVELS: Final = frozenset({"info", "warning", "error"})
"""Of `var.log_level`'s default; debug is not logged."""

PUBSUB: Final = {
    "pubsub_googleapis_com:subscription_ack_message_count",
    "pubsub_googleapis_com:subscription_num_undelivered_messages",
    "pubsub_googleapis_com:subscription_oldest_unacked_message_age",
}
"""Google's metrics of subscriptions, as PromQL writes them: the first slash a colon, what else is no letter a line."""


@cache
def _logged(at: frozenset[str] = LEVELS) -> Mapping[str, set[str]]:
    """Return the fields of each event that postman logs at these levels; those that all of its places have."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "postman").rglob("*.py"):
        for call in _log_calls(ast.parse(path.read_text()), at):
            event = call.args[0]
            if isinstance(event, ast.Constant):
                fields = {each.arg or "" for each in call.keywords}
                found[str(event.value)] = found.get(str(event.value), fields) & fields
    return found


def _log_calls(tree: ast.AST, levels: frozenset[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_LOG"), attr=level)) if level in levels and node.args:
                yield node


def _queries(state: State) -> Mapping[str, str]:
    conditions = {each.key: each.values["conditions"] for each in state.of("monitoring_alert_policy")}
    alerts = {name: one["condition_prometheus_query_language"] for name, [one] in conditions.items()}
    charts = {tile["widget"]["title"]: _query_of(tile) for tile in _tiles(state)}
    return {**{name: query["query"] for name, [query] in alerts.items()}, **charts}


def _query_of(tile: Mapping[str, Any]) -> str:
    [data] = tile["widget"]["xyChart"]["dataSets"]
    return str(data["timeSeriesQuery"]["prometheusQuery"])


def _tiles(state: State) -> Sequence[Mapping[str, Any]]:
    [dashboard] = state.of("monitoring_dashboard")
    tiles: Sequence[Mapping[str, Any]] = json.loads(dashboard.values["dashboard_json"])["mosaicLayout"]["tiles"]
    return tiles


def test_what_is_counted_is_logged(everything: State) -> None:
    """An event that was renamed would be counted as none, and its alert would sleep for ever."""
    for metric in everything.of("logging_metric"):
        assert metric.key in _logged(), metric.key
        assert metric.values["label_extractors"].keys() <= _logged()[metric.key], metric.key


def test_fields_that_are_counted_are_extracted_from_the_log(everything: State) -> None:
    for metric in everything.of("logging_metric"):
        extractors = metric.values["label_extractors"]
        [descriptor] = metric.values["metric_descriptor"]
        assert {each["key"] for each in descriptor["labels"]} == extractors.keys()
        assert extractors == {field: f"EXTRACT(jsonPayload.{field})" for field in extractors}
        assert metric.values["filter"].startswith(f'jsonPayload.event="{metric.key}" AND ')


@pytest.mark.parametrize("mode", ["everything", "pushed"])
def test_logs_of_all_that_runs_are_counted(mode: str, request: pytest.FixtureRequest) -> None:
    state: State = request.getfixturevalue(mode)
    metric = state.of("logging_metric")[0]
    pools, services = re.findall(r'=~"([^"]+)"', metric.values["filter"])

    for each in state.running():
        pattern = pools if each.type.endswith("_pool") else services
        assert re.search(pattern, each.values["name"]), each.address
    assert re.search(pools, "postman-worker-12")
    assert not re.search(services, "postman-of-others")


@pytest.mark.parametrize("mode", ["everything", "pushed"])
def test_queries_ask_for_metrics_that_there_are(mode: str, request: pytest.FixtureRequest) -> None:
    state: State = request.getfixturevalue(mode)
    counted = {
        "logging_googleapis_com:user_" + re.sub(r"[^a-z0-9]", "_", each.values["name"])
        for each in state.of("logging_metric")
    }

    for name, query in _queries(state).items():
        asked = set(re.findall(r"[a-z_]+:[a-z0-9_]+", query))
        assert asked, name
        assert asked <= PUBSUB | counted, name


@pytest.mark.parametrize("mode", ["everything", "pushed"])
def test_queries_name_the_resource_whose_log_it_is(mode: str, request: pytest.FixtureRequest) -> None:
    """PromQL wants one kind of resource: workers log in a pool, deliver and events in services."""
    state: State = request.getfixturevalue(mode)
    for name, query in _queries(state).items():
        kinds = dict(re.findall(r'([a-z_]+:[a-z0-9_]+)\{monitored_resource="([a-z_]+)"', query))
        assert len(kinds) == len(set(re.findall(r"[a-z_]+:[a-z0-9_]+", query))), name
        for metric, kind in kinds.items():
            assert kind == _kind(metric, is_pushed=mode == "pushed"), name


def _kind(metric: str, *, is_pushed: bool) -> str:
    if metric in PUBSUB:
        return "pubsub_subscription"
    return "cloud_run_revision" if is_pushed or metric.endswith("event_post_refused") else "cloud_run_worker_pool"


def test_queries_select_the_subscriptions_that_they_mean(everything: State) -> None:
    names = {each.values["name"] for each in everything.of("pubsub_subscription")}
    dead = {name for name in names if name.endswith("-dead")}

    for name, query in _queries(everything).items():
        for pattern in re.findall(r'subscription_id=~"([^"]+)"', query):
            chosen = {each for each in names if re.fullmatch(pattern, each)}
            assert chosen == (dead if "dead" in name.lower() else names - dead), name


def test_queries_are_promql(everything: State) -> None:
    if importlib.util.find_spec("promql_parser") is None:
        pytest.skip("PromQL (promql-parser is not installed)")
    import promql_parser

    for query in _queries(everything).values():
        promql_parser.parse(query)  # raises for what is none
    with pytest.raises(ValueError, match=r"."):
        promql_parser.parse("sum by (provider (x) > 0")


def test_alerts_are_listed_for_the_runbook(everything: State, pushed: State) -> None:
    """By names that can be headings; what cannot happen has no alert."""
    policies = {each.key: each for each in everything.of("monitoring_alert_policy")}
    where_pushed = {each.key for each in pushed.of("monitoring_alert_policy")}

    assert everything.outputs["alerts"].keys() == policies.keys()
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in policies)
    assert policies.keys() ^ where_pushed == {"workers_unfit", "pushes_refused"}
    for name, each in policies.items():
        assert each.values["severity"] == everything.outputs["alerts"][name]["severity"]
        [documentation] = each.values["documentation"]
        assert documentation["content"].endswith(f"docs/runbook.md#{name}")
        assert len(each.values["notification_channels"]) == 1


def test_the_runbook_has_every_alert(everything: State, pushed: State) -> None:
    headings = set(re.findall(r"^#+ `?([a-z_]+)`?$", RUNBOOK.read_text(), re.MULTILINE))

    alerts = {**everything.outputs["alerts"], **pushed.outputs["alerts"]}
    assert alerts.keys() - headings == set()


def test_alerts_of_the_page_are_those_of_the_module(everything: State, pushed: State) -> None:
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (warning|error|critical) \|", PAGE.read_text(), re.MULTILINE))

    alerts = {**everything.outputs["alerts"], **pushed.outputs["alerts"]}
    assert told == {name: alert["severity"].lower() for name, alert in alerts.items()}


def test_charts_lie_beside_each_other(everything: State) -> None:
    [dashboard] = everything.of("monitoring_dashboard")
    columns = json.loads(dashboard.values["dashboard_json"])["mosaicLayout"]["columns"]
    places = [
        (x, y)
        for tile in _tiles(everything)
        for x in range(tile["xPos"], tile["xPos"] + tile["width"])
        for y in range(tile["yPos"], tile["yPos"] + tile["height"])
    ]

    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < columns


def test_alerts_need_no_more_than_warnings(everything: State) -> None:
    """So that a cluster which logs less, for its cost, is woken all the same."""
    alerts = {each.key for each in everything.of("monitoring_alert_policy")}
    queries = [query for name, query in _queries(everything).items() if name in alerts]
    counted = {event for event in _logged() if any(f"_{event}{{" in query for query in queries)}

    assert len(counted) > 8
    assert counted & _logged(frozenset({"info"})).keys() == set()
