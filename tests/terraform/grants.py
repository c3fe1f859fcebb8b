"""Who may do what, and why: the only rights that the module may give. A right that is not needed is a mistake, too."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.terraform.runs import PROJECT_NUMBER, Resource, State

__all__ = ["GRANTS", "PUSH_GRANTS", "Grant", "grants_in"]


@dataclass(frozen=True, slots=True)
class Grant:
    """A role of somebody on all targets of a kind."""

    who: str
    role: str
    what: str


SENDING: Final[Mapping[tuple[str, str], str]] = {
    ("pubsub.publisher", "topic"): "moves mails that lie in the wrong shard",
    ("pubsub.publisher", "dead topic"): "dead-letters what cannot be sent",
    ("datastore.user", "ledger"): "claims and records",
    ("secretmanager.secretAccessor", "api key"): "sends with it",
}

_PULLING: Final[Mapping[tuple[str, str], str]] = {
    ("pubsub.subscriber", "subscription"): "pulls, extends and acknowledges",
    ("pubsub.viewer", "subscription"): "checks topic and ack deadline when it starts",
    ("pubsub.viewer", "dead subscription"): "the same: dead letters without a subscription are lost",
}

_AROUND: Final[Mapping[tuple[str, str, str], str]] = {
    ("pubsub", "pubsub.publisher", "dead topic"): "forwards what was never settled",
    ("pubsub", "pubsub.subscriber", "subscription"): "acknowledges what it forwards",
    ("ingress", "pubsub.publisher", "topic"): "publishes what callers post",
    ("ingress", "datastore.viewer", "ledger"): "follows the layout, and tells what became of a mail",
    ("events", "datastore.user", "ledger"): "records what providers tell, and suppresses addresses",
    ("events", "secretmanager.secretAccessor", "webhook key"): "proves posts",
    (
        "everybody",
        "run.invoker",
        "events service",
    ): "providers have no account with Google; their posts prove themselves",
    ("portal", "run.invoker", "ingress service"): "a caller that was named",
    ("shop", "pubsub.publisher", "topic"): "a publisher that was named",
    ("shop", "datastore.viewer", "ledger"): "a publisher that shall follow the layout",
    ("operators", "pubsub.publisher", "topic"): "replays dead letters",
    ("operators", "pubsub.subscriber", "dead subscription"): "reads, replays and drops dead letters",
    ("operators", "pubsub.viewer", "subscription"): "checks the shards",
    ("operators", "pubsub.viewer", "dead subscription"): "checks the shards",
    ("operators", "datastore.user", "ledger"): "status, providers, suppressions, layout",
    ("operators", "monitoring.viewer", "project"): "sees how much waits; Google tells it for a whole project",
    ("console", "pubsub.publisher", "topic"): "replays dead letters",
    ("console", "pubsub.subscriber", "dead subscription"): "reads, replays and drops dead letters",
    ("console", "datastore.user", "ledger"): "shows it; changes providers, suppressions, layout",
    ("console", "monitoring.viewer", "project"): "how much waits, as for operators",
}


def _of(who: str, reasons: Mapping[tuple[str, str], str]) -> dict[Grant, str]:
    return {Grant(who, role, what): reason for (role, what), reason in reasons.items()}


_COMMON: Final = {Grant(*key): reason for key, reason in _AROUND.items()}

GRANTS: Final = {
    **_COMMON,
    **_of("worker", {**SENDING, **_PULLING}),
    Grant("desk", "run.invoker", "console service"): "people who were named",
}
"""Where workers pull."""

PUSH_GRANTS: Final = {
    **_COMMON,
    **_of("deliver", SENDING),
    Grant("everybody", "run.invoker", "deliver service"): "it checks Pub/Sub's token itself: Cloud Run would unsign it",
    Grant("proxy", "run.invoker", "console service"): "it logs people in; nobody gets past it",
}
"""Where Pub/Sub pushes, and Identity-Aware Proxy is before the console."""

_MEMBERS: Final = (
    (re.compile(rf"serviceAccount:service-{PROJECT_NUMBER}@gcp-sa-pubsub\.iam\.gserviceaccount\.com"), "pubsub"),
    (re.compile(rf"serviceAccount:service-{PROJECT_NUMBER}@gcp-sa-iap\.iam\.gserviceaccount\.com"), "proxy"),
    (re.compile(r"serviceAccount:([a-z]+)@[a-z-]+\.iam\.gserviceaccount\.com"), r"\1"),
    (re.compile(r"group:night@example\.org"), "operators"),
    (re.compile(r"group:desk@example\.org"), "desk"),
    (re.compile(r"allUsers"), "everybody"),
)

_TARGETS: Final = (
    (re.compile(r"postman-mail-[0-9]+"), ""),
    (re.compile(r"postman-mail-[0-9]+-dead"), "dead "),
)


def grants_in(state: State) -> Mapping[Grant, set[str]]:
    """Return the grants in *state*, each with the names of its targets."""
    found: dict[Grant, set[str]] = {}
    for resource in state.resources:
        if resource.type.endswith(("_iam_member", "_iam_binding", "_iam_policy")):
            grant, target = _grant(resource)
            found.setdefault(grant, set()).add(target)
    return found


def _grant(resource: Resource) -> tuple[Grant, str]:
    what, target = next(_targets(resource), ("project", ""))
    role = str(resource.values.get("role", "")).removeprefix("roles/")
    return Grant(_who(str(resource.values.get("member", ""))), role, what), target


def _targets(resource: Resource) -> Iterator[tuple[str, str]]:
    values = resource.values
    for kind in ("topic", "subscription"):
        if kind in values:
            [before] = [before for pattern, before in _TARGETS if pattern.fullmatch(values[kind])]
            yield f"{before}{kind}", values[kind]
    if "secret_id" in values:
        yield ("webhook key" if values["secret_id"].endswith("-webhook-key") else "api key"), values["secret_id"]
    if resource.type.startswith("google_cloud_run_v2_service"):
        yield f"{values['name'].removeprefix('postman-')} service", values["name"]
    if any("/databases/postman-ledger" in each["expression"] for each in values.get("condition") or ()):
        yield "ledger", "postman-ledger"


def _who(member: str) -> str:
    """Return the part that *member* plays; itself where it plays none."""
    for pattern, part in _MEMBERS:
        if match := pattern.fullmatch(member):
            return match.expand(part)
    return member
