"""Mistakes that somebody could make in the module, planted into copies of it: each must be found.

Some stand together in one copy, to save runs; they do not touch each other, and each must be named.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.terraform.grants import GRANTS, PUSH_GRANTS
from tests.terraform.judge import problems
from tests.terraform.runs import RefusedError, State, Terraform
from tests.terraform.wishes import EVERYTHING, PUSHED


@dataclass(frozen=True, slots=True)
class Mistake:
    """A change of *file*, of what *pattern* finds into *text*, and the complaints that it must bring."""

    file: str
    pattern: str
    text: str
    complaints: Sequence[str]

    def plant(self, copy: Path) -> None:
        path = copy / self.file
        changed, count = re.subn(self.pattern, self.text, path.read_text(), count=1, flags=re.DOTALL)
        assert count == 1, f"{self.file} has no place for the mistake {self.pattern!r}"
        path.write_text(changed)


def _without(block: str) -> str:
    """Return what finds the whole of a resource."""
    return re.escape(f"resource {block} {{") + r".*?\n}\n"


NO_DEAD_LETTER_ROLE: Final = Mistake(
    "topics.tf",
    _without('"google_pubsub_topic_iam_member" "agent_forwards"'),
    "",
    ["pubsub lacks pubsub.publisher on dead topic"],
)
NO_ROLE_TO_ACKNOWLEDGE: Final = Mistake(
    "topics.tf",
    _without('"google_pubsub_subscription_iam_member" "agent_forwards"'),
    "",
    ["pubsub lacks pubsub.subscriber on subscription"],
)
UNHEARD_DEAD_LETTERS: Final = Mistake(
    "topics.tf",
    r'(name                       = "\$\{each\.value\}-dead"\n  topic +=) google_pubsub_topic\.dead',
    r"\1 google_pubsub_topic.shard",
    ["topic postman-mail-0-dead has no subscription", "topic postman-mail-1-dead has no subscription"],
)
A_PUBLIC_SECRET: Final = Mistake(
    "keys.tf",
    r"member    = google_service_account\.this\[each\.value\.account\]\.member",
    'member    = each.value.account == "events" ? google_service_account.this[each.value.account].member : "allUsers"',
    [
        'google_secret_manager_secret_iam_member.reads["mailgun-eu-api-key/worker"] is open to everybody',
        "everybody has secretmanager.secretAccessor on api key, which nothing needs",
        "worker lacks secretmanager.secretAccessor on api key",
    ],
)
A_ROLE_TOO_MANY: Final = Mistake(
    "ledger.tf",
    r'role    = "roles/datastore\.viewer"',
    'role    = "roles/datastore.owner"',
    ["ingress has datastore.owner on ledger, which nothing needs", "ingress lacks datastore.viewer on ledger"],
)
A_ROLE_FOR_ALL_DATABASES: Final = Mistake(
    "ledger.tf",
    r"(member  = each\.value\n\n)  condition \{.*?\n  \}\n",
    r"\1",
    ["worker has datastore.user on project, which nothing needs", "worker lacks datastore.user on ledger"],
)
SUBSCRIPTIONS_THAT_EXPIRE: Final = Mistake(
    "topics.tf", r'ttl = ""', 'ttl = "2678400s"', ["subscription postman-mail-0 expires"]
)
DEAD_LETTERS_FOR_A_WEEK: Final = Mistake(
    "topics.tf",
    r"\$\{31 \* local\.day\}s",
    "${7 * local.day}s",
    ["subscription postman-mail-0-dead does not keep dead letters for a month"],
)
EARLY_PUBLISHERS: Final = Mistake(
    "topics_access.tf",
    r"\n  depends_on = \[google_pubsub_subscription\.shard\]\n",
    "",
    ['google_pubsub_topic_iam_member.publishes["0/worker"] may publish before there is a subscription'],
)
AN_INDEXED_EXPIRY: Final = Mistake(
    "ledger.tf",
    r'(field      = "expire_at"\n\n  index_config \{)\}',
    r'\1\n    indexes {\n      order = "ASCENDING"\n    }\n  }',
    ["collection postman-mails indexes the time at which documents expire"],
)
INDEXED_MAILS: Final = Mistake(
    "ledger.tf",
    r'(resource "google_firestore_field" "unindexed" \{\n  for_each = )local\.collections',
    r'\1{ for name, each in local.collections : name => each if name != "workers" }',
    ["collection postman-workers indexes all of its fields"],
)
AN_UNPROTECTED_LEDGER: Final = Mistake(
    "ledger.tf",
    r'var\.protect \? "DELETE_PROTECTION_ENABLED"',
    '!var.protect ? "DELETE_PROTECTION_ENABLED"',
    ["database postman-ledger can be deleted"],
)
AN_UNKNOWN_SETTING: Final = Mistake(
    "workers.tf",
    r"POSTMAN_PROBE_PORT =",
    "POSTMAN_PROBES =",
    ['google_cloud_run_v2_worker_pool.this["postman-worker"]: there is no setting POSTMAN_PROBES'],
)
AN_UNPROBED_POOL: Final = Mistake(
    "workers.tf",
    r"      liveness_probe \{.*?\n      \}\n",
    "",
    ['google_cloud_run_v2_worker_pool.this["postman-worker"] is not probed'],
)
A_PUBLIC_INGRESS: Final = Mistake(
    "services.tf",
    r"\? var\.callers : \[\]",
    '? setunion(var.callers, ["allUsers"]) : []',
    [
        'google_cloud_run_v2_service_iam_member.calls["allUsers"] is open to everybody',
        "everybody has run.invoker on ingress service, which nothing needs",
    ],
)
PROJECT_OF_THE_ENVIRONMENT: Final = Mistake(
    "dashboard.tf",
    r"  project = var\.project\n",
    "",
    ["google_monitoring_dashboard.this does not say its project"],
)
AN_IMAGE_BY_TAG: Final = Mistake(
    "image.tf",
    r'"\$\{local\.registry\}/\$\{var\.image\}"',
    '"${local.registry}/postman:latest"',
    ['google_cloud_run_v2_worker_pool.this["postman-worker"] runs an image that can change'],
)
PUSHES_FROM_THE_INTERNET: Final = Mistake(
    "services.tf",
    r'traffic = "INGRESS_TRAFFIC_INTERNAL_ONLY"',
    'traffic = "INGRESS_TRAFFIC_ALL"',
    ['google_cloud_run_v2_service.this["deliver"] listens to the internet'],
)
A_CONSOLE_WITHOUT_NAMES: Final = Mistake(
    "console.tf",
    r", POSTMAN_CONSOLE_IDENTITY = [^}]+\}",
    " }",
    ['google_cloud_run_v2_service.this["console"] does not know who its visitors are'],
)
A_CONSOLE_FOR_EVERYBODY: Final = Mistake(
    "console.tf",
    r": var\.console_users\)",
    ': setunion(var.console_users, ["allUsers"]))',
    [
        'google_cloud_run_v2_service_iam_member.looks["allUsers"] is open to everybody',
        "everybody has run.invoker on console service, which nothing needs",
    ],
)
A_CONSOLE_THAT_PULLS: Final = Mistake(
    "topics_access.tf",
    r"pullers = \{",
    'pullers = { for name, member in merge(local.senders, local.consoles) : name => member if name != "deliver" }\n'
    "  left_over = {",
    ["console has pubsub.subscriber on subscription, which nothing needs"],
)
A_WAY_PAST_THE_PROXY: Final = Mistake(
    "console.tf",
    r"toset\(\[local\.proxy_agent\]\)",
    "setunion([local.proxy_agent], var.console_users)",
    ["desk has run.invoker on console service, which nothing needs"],
)
NO_PROXY: Final = Mistake(
    "services.tf",
    r"iap_enabled +=[^\n]+",
    "",
    ['google_cloud_run_v2_service.this["console"] does not know who its visitors are'],
)
ANOTHER_S_ASSERTIONS: Final = Mistake(
    "console.tf",
    r"services/\$\{var\.prefix\}-console",
    "services/console",
    ['google_cloud_run_v2_service.this["console"] expects assertions for another service'],
)
ANOTHER_AUDIENCE: Final = Mistake(
    "topics.tf",
    r"audience              = push_config\.value",
    'audience              = "another"',
    ["subscription postman-mail-0 pushes for another audience than deliver's"],
)

TOGETHER: Final = {
    "missing": [NO_DEAD_LETTER_ROLE, EARLY_PUBLISHERS, AN_UNPROBED_POOL, INDEXED_MAILS, PROJECT_OF_THE_ENVIRONMENT],
    "too-open": [
        A_PUBLIC_SECRET,
        A_ROLE_TOO_MANY,
        A_ROLE_FOR_ALL_DATABASES,
        A_PUBLIC_INGRESS,
        AN_UNPROTECTED_LEDGER,
        A_CONSOLE_FOR_EVERYBODY,
        A_CONSOLE_THAT_PULLS,
    ],
    "wrong": [
        NO_ROLE_TO_ACKNOWLEDGE,
        UNHEARD_DEAD_LETTERS,
        SUBSCRIPTIONS_THAT_EXPIRE,
        DEAD_LETTERS_FOR_A_WEEK,
        AN_INDEXED_EXPIRY,
        AN_UNKNOWN_SETTING,
        AN_IMAGE_BY_TAG,
        A_CONSOLE_WITHOUT_NAMES,
    ],
}


def test_nothing_is_wrong(everything: State, pushed: State) -> None:
    """Without a mistake there is no complaint, whether workers pull or Pub/Sub pushes."""
    assert problems(everything, GRANTS) == []
    assert problems(pushed, PUSH_GRANTS) == []


@pytest.mark.parametrize("planted", TOGETHER.values(), ids=TOGETHER.keys())
def test_each_mistake_is_named(planted: Sequence[Mistake], terraform: Terraform) -> None:
    def plant(copy: Path) -> None:
        for mistake in planted:
            mistake.plant(copy)

    found = problems(terraform.apply(EVERYTHING, plant), GRANTS)

    assert [each for mistake in planted for each in mistake.complaints if each not in found] == []


def test_mistakes_of_pushes_and_of_the_proxy_are_named(terraform: Terraform) -> None:
    planted = (ANOTHER_AUDIENCE, PUSHES_FROM_THE_INTERNET, A_WAY_PAST_THE_PROXY, NO_PROXY, ANOTHER_S_ASSERTIONS)

    def plant(copy: Path) -> None:
        for mistake in planted:
            mistake.plant(copy)

    found = problems(terraform.apply(PUSHED, plant), PUSH_GRANTS)

    assert [each for mistake in planted for each in mistake.complaints if each not in found] == []


def test_a_key_cannot_get_into_the_state(terraform: Terraform) -> None:
    """In an argument that is kept Terraform refuses it, since the variable is ephemeral."""

    def keep(copy: Path) -> None:
        Mistake("keys.tf", r"secret_data_wo         =", "secret_data            =", []).plant(copy)

    with pytest.raises(RefusedError, match="ephemeral") as refused:
        terraform.apply(EVERYTHING, keep)

    assert "canary" not in str(refused.value)
