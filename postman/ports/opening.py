"""What an adapter is told when it is opened.

Adapters are found by the scheme of a URL, or by a provider's kind, through the
entry points `postman.queues`, `postman.ledgers`, `postman.records` and
`postman.rosters` (by the ledger's URL; a ledger need not have one),
`postman.layouts` and `postman.suppressions` (likewise), `postman.backlogs` (by the queue's URL; a
queue need not have one: `postman.ports.backlog`), `postman.documents` (by the scheme of
POSTMAN_PROVIDERS), `postman.providers`, `postman.events` and `postman.observed`
(by the provider's kind; a provider need not have events, nor be one that the
proxy can observe: its mails then go to it directly). Each names a function of
one of the shapes below. Opening makes no connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from postman.ports.clock import Clock
from postman.ports.documents import Documents
from postman.ports.events import EventSource
from postman.ports.layouts import Layouts
from postman.ports.ledger import Ledger
from postman.ports.observing import ObservedProvider
from postman.ports.provider import Provider
from postman.ports.queue import ShardMap
from postman.ports.roster import Roster
from postman.ports.suppressions import Suppressions

__all__ = [
    "Cluster",
    "OpenDocuments",
    "OpenEvents",
    "OpenLayouts",
    "OpenLedger",
    "OpenObserved",
    "OpenProvider",
    "OpenRoster",
    "OpenShards",
    "OpenSuppressions",
    "ProviderSpec",
]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The settings that queues and ledgers share."""

    clock: Clock
    project: str = ""
    """The Google Cloud project; empty elsewhere."""
    prefix: str = "postman"
    """Begins every name of a topic, subscription, table or collection."""
    shards: int = 8
    ack_deadline: float = 30.0
    """Seconds for which a delivery is its worker's before it must be extended."""


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider of the document, with its key already read."""

    name: str
    kind: str
    api_key: SecretStr = field(repr=False)
    base_url: str = ""
    """Empty: the adapter's own default."""
    timeout: float = 10.0
    look_up_after: float | None = None
    """None: the adapter's own default."""
    cluster: str = ""
    """Whose mails these are (`POSTMAN_PREFIX`): sent with them, so that their events are told from another's."""
    proxy: str = ""
    """Address of the observing proxy, `{proxy}/{name}` in place of *base_url*; empty: none."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What only this kind has, like Mailgun's *domain*. An adapter refuses what it does not know with `ConfigError`."""


OpenShards = Callable[[str, Cluster], ShardMap]
"""From what follows the scheme (`sqlite:PATH` gives PATH) and the cluster."""

OpenLedger = Callable[[str, Cluster], Ledger]

OpenLayouts = Callable[[str, Cluster], Layouts]

OpenDocuments = Callable[[str, Cluster], Documents]

OpenRoster = Callable[[str, Cluster], Roster]

OpenSuppressions = Callable[[str, Cluster], Suppressions]

OpenEvents = Callable[[ProviderSpec], EventSource | None]
"""None where the document names no key that would prove events (`webhook_key`)."""

OpenProvider = Callable[[ProviderSpec], Provider]

OpenObserved = Callable[[ProviderSpec], ObservedProvider]
"""Of the spec neither the key nor the proxy is used."""
