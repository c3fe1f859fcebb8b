"""Terraform, `postman init` and the code mean the same names, times, settings and keys."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from pydantic import SecretStr

from postman.adapters.firestore.records import open_records
from postman.adapters.firestore.roster import open_roster
from postman.adapters.firestore.suppressions import _Position, open_suppressions
from postman.adapters.pubsub import PubsubShards, open_shards
from postman.config import Settings, parse_providers
from postman.config.editing import text_of_seed
from postman.core.shelf import Shelf
from postman.entrypoints.cli.app import app
from postman.entrypoints.functions.settings import FunctionSettings
from postman.ports.opening import Cluster
from postman.testing import FakeClock
from postman.wiring import check_providers
from postman.wiring.documents import Keys, _is_read
from tests.terraform.grants import GRANTS, SENDING, Grant
from tests.terraform.judge import SETTINGS
from tests.terraform.runs import CHECKER, MODULE, ROOT, Resource, State, Terraform
from tests.terraform.wishes import EVERYTHING, PROJECT

DEADLINE: Final = 30.0
_KEY: Final = SecretStr("k" * 20)
ADAPTERS: Final = ROOT / "postman" / "adapters" / "firestore"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(FakeClock(), PROJECT, "postman", 2, DEADLINE)


@pytest.fixture
def made_by_init(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> PubsubShards:
    """What `postman init` would make on Google Cloud; no connection is made."""
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    return open_shards("", cluster)


def _requests(shards: PubsubShards) -> dict[str, Any]:
    resources = [resource for shard in range(shards.count) for resource in shards._resources(shard)]
    return {resource.name: shards._subscription(resource, round(DEADLINE)) for resource in resources}


def _short(path: str) -> str:
    return path.rpartition("/")[2]


class TestQueues:
    def test_topics_are_those_of_init(self, everything: State, made_by_init: PubsubShards) -> None:
        topics = {each.values["name"] for each in everything.of("pubsub_topic")}

        assert topics == {_short(request.topic) for request in _requests(made_by_init).values()}

    def test_subscriptions_are_those_of_init(self, everything: State, made_by_init: PubsubShards) -> None:
        """In name, ack deadline, retention, and after how many attempts Pub/Sub itself gives up."""
        topics = {each.values["id"]: each.values["name"] for each in everything.of("pubsub_topic")}

        assert {each.values["name"]: _terms(each, topics) for each in everything.of("pubsub_subscription")} == {
            _short(request.name): _terms_of_request(request) for request in _requests(made_by_init).values()
        }

    def test_a_cluster_that_grows_keeps_what_it_has(self, everything: State, terraform: Terraform) -> None:
        """No address of a resource goes away, or anew: that would delete a queue with its mails."""
        grown = terraform.apply({**EVERYTHING, "queues": 3})

        addresses = {each.address for each in grown.resources}
        assert {each.address for each in everything.resources} <= addresses
        assert {'google_pubsub_topic.shard["2"]', 'google_pubsub_subscription.dead["2"]'} <= addresses
        assert grown.outputs["shards"] == everything.outputs["shards"] == 2


_NO_DEAD_LETTERS: Final = {"dead_letter_topic": "", "max_delivery_attempts": 0}


def _terms(subscription: Resource, topics: Mapping[str, str]) -> Mapping[str, object]:
    values = subscription.values
    [expiration] = values["expiration_policy"]
    policy: Mapping[str, Any] = next(iter(values["dead_letter_policy"]), _NO_DEAD_LETTERS)
    return {
        "topic": topics[values["topic"]],
        "ack_deadline": values["ack_deadline_seconds"],
        "retention": values["message_retention_duration"],
        "expires": expiration["ttl"] != "",
        "dead_letters": topics.get(policy["dead_letter_topic"], ""),
        "attempts": policy["max_delivery_attempts"],
        "retries": bool(values["retry_policy"]),
    }


def _terms_of_request(request: Any) -> Mapping[str, object]:
    return {
        "topic": _short(request.topic),
        "ack_deadline": request.ack_deadline_seconds,
        "retention": f"{request.message_retention_duration.seconds}s",
        "expires": request.expiration_policy.HasField("ttl") or not request.HasField("expiration_policy"),
        "dead_letters": _short(request.dead_letter_policy.dead_letter_topic),
        "attempts": request.dead_letter_policy.max_delivery_attempts,
        "retries": request.HasField("retry_policy"),
    }


class TestLedger:
    def test_collections_are_those_of_the_adapters(self, everything: State) -> None:
        """Also one that a later adapter brings: it needs its exemptions from indexes."""
        code = "\n".join(path.read_text() for path in ADAPTERS.glob("*.py"))
        used = {f"postman-{name}" for name in re.findall(r'f"\{cluster\.prefix\}-([a-z-]+)', code)}

        assert {each.values["collection"] for each in everything.of("firestore_field", "unindexed")} == used

    def test_collections_whose_documents_expire_have_the_policy(self, everything: State) -> None:
        files = {"mails": "_documents", "suppressions": "suppressions", "workers": "roster"}
        files |= {"layout": "layouts", "config": "documents"}
        expiring = {name for name, file in files.items() if '"expire_at"' in (ADAPTERS / f"{file}.py").read_text()}

        policies = everything.of("firestore_field", "expires")
        assert {each.key for each in policies} == expiring
        assert {each.values["field"] for each in policies} == {"expire_at"}
        assert {each.key for each in everything.of("firestore_field", "unindexed")} == files.keys()

    def test_what_queries_order_by_has_an_index(self, everything: State, cluster: Cluster) -> None:
        roster = open_roster("postman-ledger", cluster)._request(0.0).structured_query
        changes = open_suppressions("postman-ledger", cluster)._request(_Position()).structured_query
        asked = {("postman-workers", roster.where.field_filter.field.field_path)}
        asked |= {("postman-suppressions", each.field.field_path) for each in changes.order_by}

        indexed = {
            (each.values["collection"], each.values["field"]) for each in everything.of("firestore_field", "ordered")
        }
        assert indexed == {(name, field) for name, field in asked if field != "__name__"}

    def test_what_operators_ask_for_has_an_index(self, everything: State, cluster: Cluster) -> None:
        """Each query's fields, in its order; fields of one kind of query only."""
        records = open_records("postman-ledger", cluster)
        shelf = records._on(Shelf.REFUSED, 1).structured_query
        [index] = everything.of("firestore_index")
        fields = [(each["field_path"], each["order"]) for each in index.values["fields"]]
        asked = [each.field.field_path for each in shelf.order_by if each.field.field_path != "__name__"]
        assert fields == [(shelf.where.field_filter.field.field_path, "ASCENDING"), *((f, "DESCENDING") for f in asked)]
        assert index.values["collection"] == "postman-mails"
        names = ("message_id", "recipients")
        found = {each.values["field"] for name in names for each in everything.of("firestore_field", name)}
        source = (ADAPTERS / "records.py").read_text()
        assert found == set(re.findall(r'self\._request\("(\w+)"', source)) - {"shelf"}


class TestSettings:
    def test_names_in_the_module_are_settings(self) -> None:
        text = "\n".join(path.read_text() for path in MODULE.rglob("*.tf"))

        assert set(re.findall(r"POSTMAN_[A-Z_]*[A-Z]", text)) - SETTINGS == set()

    @pytest.mark.parametrize("mode", ["everything", "pushed"])
    def test_what_runs_accepts_its_environment(self, mode: str, request: pytest.FixtureRequest) -> None:
        state: State = request.getfixturevalue(mode)

        for each in state.running():
            settings = _settings_of(each)
            assert (settings.queue, settings.ledger) == ("pubsub:", "firestore:postman-ledger")
            assert (settings.project, settings.prefix, settings.shards) == (PROJECT, "postman", 2)
            assert (settings.ack_deadline, settings.concurrency) == (DEADLINE, 40)

    def test_the_providers_lie_beside_the_ledger(self, everything: State) -> None:
        [database] = everything.of("firestore_database")
        [pool] = everything.of("cloud_run_v2_worker_pool")

        assert pool.environment["POSTMAN_LEDGER"] == f"firestore:{database.values['name']}"
        assert pool.environment["POSTMAN_PROVIDERS"] == f"firestore:{database.values['name']}"

    def test_what_is_told_to_people_is_accepted(self, everything: State) -> None:
        for name in ("operator_environment", "publisher_environment"):
            assert Settings.from_env(everything.outputs[name]).shards == 2

    def test_ports_of_probes_are_listened_on(self, everything: State) -> None:
        [pool] = everything.of("cloud_run_v2_worker_pool")
        [probe] = pool.container["liveness_probe"]

        assert [each["port"] for each in probe["http_get"]] == [int(pool.environment["POSTMAN_PROBE_PORT"])]

    def test_nothing_of_the_module_can_be_set_beside_it(self, everything: State, pushed: State) -> None:
        """`settings` must not override what the module says."""
        named = {name for state in (everything, pushed) for each in state.running() for name in each.environment}
        own = set(re.findall(r'^    "(POSTMAN_[A-Z_]+)",$', (MODULE / "settings.tf").read_text(), re.MULTILINE))

        assert named - {"POSTMAN_CONCURRENCY"} | {"POSTMAN_ONLY_SHARDS"} == own


def _settings_of(resource: Resource) -> Settings:
    """Read its environment as what runs there does."""
    [command, *rest] = resource.container["args"]
    if command == "functions":
        return FunctionSettings.from_env(resource.environment, rest[0]).chosen
    return Settings.from_env(resource.environment)


class TestCommands:
    @pytest.mark.parametrize("mode", ["everything", "pushed"])
    def test_what_runs_is_a_command_with_options_that_it_knows(self, mode: str, request: pytest.FixtureRequest) -> None:
        state: State = request.getfixturevalue(mode)
        for each in state.running():
            _parse(each.container["args"])


def _parse(arguments: list[str]) -> None:
    """Read *arguments* as the command would, without running it; raises for what it does not know."""
    command: Any = typer.main.get_command(app)
    names = list(arguments)
    name = names.pop(0)
    command.commands[name].make_context(name, names)


class TestProviders:
    async def test_the_seed_is_a_document_that_postman_reads(self, everything: State) -> None:
        """With kinds and options that the adapters take; keys are names of secrets that are there."""
        [pool] = everything.of("cloud_run_v2_worker_pool")
        entries = parse_providers(text_of_seed(pool.environment["POSTMAN_PROVIDERS_SEED"], "seed"), "seed")

        await check_providers([each.with_keys({"api_key": _KEY}) for each in entries])
        assert {each.spec.name: each.enabled for each in entries} == {
            "mailgun-eu": True,
            "sendgrid": True,
            "spare": False,
        }
        secrets = {f"secret:{each.values['secret_id']}" for each in everything.of("secret_manager_secret")}
        assert {reference for each in entries for reference in each.references.values()} == secrets

    def test_whoever_reads_a_key_may(self) -> None:
        """And nobody else: what the code reads and what Terraform grants are the same."""
        sending = {field for field in ("api_key", "webhook_key") if _is_read(field, Keys.SENDING)}
        hearing = {field for field in ("api_key", "webhook_key") if _is_read(field, Keys.EVENTS)}

        assert _keys(who="worker") == sending
        assert _keys(who="events") == hearing
        assert {what for _, what in SENDING if what.endswith(" key")} == {field.replace("_", " ") for field in sending}


def _keys(*, who: str) -> set[str]:
    names = ("api key", "webhook key")
    return {what.replace(" ", "_") for what in names if Grant(who, "secretmanager.secretAccessor", what) in GRANTS}


class TestPools:
    def test_both_kinds_of_pools_are_the_same_but_for_their_number(
        self, everything: State, terraform: Terraform
    ) -> None:
        """Terraform cannot leave an argument alone on condition, so the pool stands there twice."""
        outside = terraform.apply({**EVERYTHING, "scaled_from_outside": True})

        [pool] = everything.of("cloud_run_v2_worker_pool", "this")
        [other] = outside.of("cloud_run_v2_worker_pool", "scaled_from_outside")
        for part in ("name", "location", "project", "labels", "template", "deletion_protection"):
            assert pool.values[part] == other.values[part], part
        [scaling] = other.values["scaling"]
        assert (scaling["scaling_mode"], scaling["manual_instance_count"]) == ("MANUAL", 2)


def test_seed_is_json_with_nothing_but_providers(everything: State) -> None:
    [pool] = everything.of("cloud_run_v2_worker_pool")

    assert list(json.loads(pool.environment["POSTMAN_PROVIDERS_SEED"])) == ["provider"]


def test_all_types_are_known_to_the_checker() -> None:
    """A type that the stub has no schema of would be checked by nobody."""
    if not CHECKER.is_dir():
        pytest.skip("Terraform (shared/tf-check beside the project is not there)")
    known = set((CHECKER / "types.txt").read_text().split())
    text = "\n".join(path.read_text() for path in MODULE.rglob("*.tf"))

    assert set(re.findall(r'^resource "([a-z0-9_]+)"', text, re.MULTILINE)) <= known
    assert {f"data.{each}" for each in re.findall(r'^data "([a-z0-9_]+)"', text, re.MULTILINE)} <= known


def test_only_one_provider_is_used() -> None:
    text = "\n".join(path.read_text() for path in MODULE.rglob("*.tf"))

    assert set(re.findall(r'source  = "([^"]+)"', text)) == {"hashicorp/google"}


def test_module_holds_no_address_of_a_machine() -> None:
    """Nothing but examples of addresses, and Google's own."""
    hosts = {
        host for path in Path(MODULE).rglob("*.tf") for host in re.findall(r"https?://([a-z0-9.-]+)", path.read_text())
    }

    assert hosts <= {"ghcr.io", "api.eu.mailgun.net"}
