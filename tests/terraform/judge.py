"""What must hold of everything that Terraform would make, whatever a team asked for."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from postman.config import Settings
from postman.wiring.pushing import PUSH_VARIABLES
from tests.terraform.grants import Grant, grants_in
from tests.terraform.runs import CANARY, PROJECT_NUMBER, State

__all__ = ["SETTINGS", "problems"]

SETTINGS: Final = frozenset({*(f"POSTMAN_{name.upper()}" for name in Settings.model_fields), *PUSH_VARIABLES})
"""All that there are."""

_PROVES_ITSELF: Final = re.compile(r".+-(deliver|events)")
"""Services whose requests must prove themselves, so that everybody may call them."""
_EVERYBODY: Final = {"allUsers", "allAuthenticatedUsers"}
_DIGEST: Final = re.compile(r".+@sha256:[0-9a-f]{64}")
_MONTH: Final = "2678400s"


def problems(state: State, granted: Mapping[Grant, str]) -> list[str]:
    """Return what is wrong with *state*, where the rights that are *granted* are all that may be."""
    return [problem for rule in _RULES for problem in rule(state)] + list(_wrong_rights(state, granted))


def _unheard_topics(state: State) -> Iterator[str]:
    heard = Counter(each.values["topic"] for each in state.of("pubsub_subscription"))
    for topic in state.of("pubsub_topic"):
        if not heard[topic.values["id"]]:
            yield f"topic {topic.values['name']} has no subscription"


def _short_lived_subscriptions(state: State) -> Iterator[str]:
    for each in state.of("pubsub_subscription"):
        name = each.values["name"]
        if [policy["ttl"] for policy in each.values["expiration_policy"]] != [""]:
            yield f"subscription {name} expires"
        if name.endswith("-dead") and each.values["message_retention_duration"] != _MONTH:
            yield f"subscription {name} does not keep dead letters for a month"


def _shards_without_dead_letters(state: State) -> Iterator[str]:
    topics = {each.values["id"]: each.values["name"] for each in state.of("pubsub_topic")}
    for each in state.of("pubsub_subscription"):
        name = each.values["name"]
        policies = each.values["dead_letter_policy"]
        if not name.endswith("-dead") and [topics.get(one["dead_letter_topic"]) for one in policies] != [
            f"{name}-dead"
        ]:
            yield f"subscription {name} has no dead letters"


def _early_publishers(state: State) -> Iterator[str]:
    for each in state.of("pubsub_topic_iam_member"):
        needed = "google_pubsub_subscription." + ("dead" if each.values["topic"].endswith("-dead") else "shard")
        if needed not in each.needs:
            yield f"{each.address} may publish before there is a subscription"


def _public(state: State) -> Iterator[str]:
    for each in state.resources:
        is_service = each.type == "google_cloud_run_v2_service_iam_member"
        proves_itself = is_service and _PROVES_ITSELF.fullmatch(each.values["name"])
        if each.values.get("member") in _EVERYBODY and not proves_itself:
            yield f"{each.address} is open to everybody"
        if each.values.get("ingress") == "INGRESS_TRAFFIC_ALL" and not each.values["name"].endswith("-events"):
            yield f"{each.address} listens to the internet"
        if each.values.get("invoker_iam_disabled"):
            yield f"{each.address} asks nobody who he is"


def _told_keys(state: State) -> Iterator[str]:
    if CANARY in state.told:
        yield "a key is in Terraform's state or output"


def _unsafe_ledger(state: State) -> Iterator[str]:
    for each in state.of("firestore_database"):
        if each.values["delete_protection_state"] != "DELETE_PROTECTION_ENABLED":
            yield f"database {each.values['name']} can be deleted"
        if each.values["point_in_time_recovery_enablement"] != "POINT_IN_TIME_RECOVERY_ENABLED":
            yield f"database {each.values['name']} cannot be set back"


def _needless_indexes(state: State) -> Iterator[str]:
    collections = {each.values["collection"] for each in state.of("firestore_field")}
    bare = {each.values["collection"] for each in state.of("firestore_field") if each.values["field"] == "*"}
    for name in sorted(collections - bare):
        yield f"collection {name} indexes all of its fields"
    for each in state.of("firestore_field"):
        if each.values["ttl_config"] and any(one["indexes"] for one in each.values["index_config"]):
            yield f"collection {each.values['collection']} indexes the time at which documents expire"


def _unknown_settings(state: State) -> Iterator[str]:
    for each in state.running():
        for name in sorted(each.environment.keys() - SETTINGS):
            yield f"{each.address}: there is no setting {name}"


def _floating_images(state: State) -> Iterator[str]:
    for each in state.running():
        if not _DIGEST.fullmatch(each.container["image"]):
            yield f"{each.address} runs an image that can change"


def _unprobed(state: State) -> Iterator[str]:
    for each in state.running():
        if not each.container["startup_probe"] or not each.container["liveness_probe"]:
            yield f"{each.address} is not probed"


def _of_another_project(state: State) -> Iterator[str]:
    for each in state.resources:
        is_version = each.type == "google_secret_manager_secret_version"
        if each.type in state.takes_project and not is_version and each.values["project"] != "acme-mail":
            yield f"{each.address} does not say its project"


def _unheeded_pushes(state: State) -> Iterator[str]:
    services = {each.key: each for each in state.of("cloud_run_v2_service")}
    for each in state.of("pubsub_subscription"):
        for push in each.values["push_config"]:
            [token] = push["oidc_token"]
            expected = services["deliver"].environment
            if token["audience"] != expected["POSTMAN_PUSH_AUDIENCE"]:
                yield f"subscription {each.values['name']} pushes for another audience than deliver's"
            if token["service_account_email"] != expected["POSTMAN_PUSH_ACCOUNT"]:
                yield f"subscription {each.values['name']} pushes as another account than deliver's"


def _nameless_visitors(state: State) -> Iterator[str]:
    """Who opens the console must be told from others, by whom it believes, and nobody may get there past that."""
    for each in (each for each in state.of("cloud_run_v2_service") if each.key == "console"):
        identity, place = each.environment.get("POSTMAN_CONSOLE_IDENTITY", ""), each.values["location"]
        audience = f"/projects/{PROJECT_NUMBER}/locations/{place}/services/{each.values['name']}"
        if identity != ("iap" if each.values["iap_enabled"] else "cloudrun"):
            yield f"{each.address} does not know who its visitors are"
        if identity == "iap" and each.environment.get("POSTMAN_CONSOLE_AUDIENCE") != audience:
            yield f"{each.address} expects assertions for another service"


def _wrong_rights(state: State, granted: Mapping[Grant, str]) -> Iterator[str]:
    found = grants_in(state)
    for grant in found.keys() - granted.keys():
        yield f"{grant.who} has {grant.role} on {grant.what}, which nothing needs"
    for grant in granted.keys() - found.keys():
        yield f"{grant.who} lacks {grant.role} on {grant.what}"
    everything = {what: set[str]() for what in {grant.what for grant in found}}
    for grant, targets in found.items():
        everything[grant.what] |= targets
    for grant in found.keys() & granted.keys():
        for target in sorted(everything[grant.what] - found[grant]):
            yield f"{grant.who} lacks {grant.role} on {target}"


_RULES: Final[tuple[Callable[[State], Iterator[str]], ...]] = (
    _unheard_topics,
    _short_lived_subscriptions,
    _shards_without_dead_letters,
    _early_publishers,
    _public,
    _told_keys,
    _unsafe_ledger,
    _needless_indexes,
    _unknown_settings,
    _floating_images,
    _unprobed,
    _of_another_project,
    _unheeded_pushes,
    _nameless_visitors,
)
