"""What an adapter is told when it is opened.

Adapters are found by the scheme of a URL, or by a provider's kind, through the
entry points `postman.queues`, `postman.ledgers`, `postman.rosters` (by the
ledger's URL; a ledger need not have one) and `postman.providers`; each names a
function of one of the shapes below. Opening makes no connection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from postman.ports.clock import Clock
from postman.ports.ledger import Ledger
from postman.ports.provider import Provider
from postman.ports.queue import ShardMap
from postman.ports.roster import Roster

__all__ = ["Cluster", "OpenLedger", "OpenProvider", "OpenRoster", "OpenShards", "ProviderSpec"]


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
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What only this kind has, like Mailgun's *domain*. An adapter refuses what it does not know with `ConfigError`."""


OpenShards = Callable[[str, Cluster], ShardMap]
"""From what follows the scheme (`sqlite:PATH` gives PATH) and the cluster."""

OpenLedger = Callable[[str, Cluster], Ledger]

OpenRoster = Callable[[str, Cluster], Roster]

OpenProvider = Callable[[ProviderSpec], Provider]
