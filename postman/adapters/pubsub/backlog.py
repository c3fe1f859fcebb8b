"""The backlog of Pub/Sub's subscriptions, as Cloud Monitoring knows it.

Google measures once a minute, and tells it up to two minutes later
(https://docs.cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-pubsub), so an
answer is one to four minutes old: `Backlog.at` says how old. The values of five
minutes are asked for, and each subscription's latest is taken; one in which mails
wait, nobody knows for how long, is left out. A look is two requests, one for each metric, whatever
the number of shards.

The account needs roles/monitoring.viewer. Beside the emulator nobody measures,
so nobody can be asked, unless `MONITORING_EMULATOR_HOST` (`host:port` on this
machine) names who answers as Google's.
"""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from postman.adapters._this_machine import is_on_this_machine
from postman.adapters.pubsub._monitoring import GOOGLE, Authorise, GoogleHeaders, Measured, Monitoring, nobody
from postman.errors import ConfigError
from postman.ports.backlog import Backlog
from postman.ports.opening import Cluster

__all__ = ["PubsubBacklogs", "open_backlogs"]

_COUNT: Final = "num_undelivered_messages"
_AGE: Final = "oldest_unacked_message_age"
_WINDOW: Final = 300.0
"""Seconds."""
_EMULATOR: Final = "MONITORING_EMULATOR_HOST"


def open_backlogs(rest: str, cluster: Cluster) -> "PubsubBacklogs | None":
    """Return the backlog of *cluster*; None where *rest* or PUBSUB_EMULATOR_HOST names an emulator of Pub/Sub.

    Raises `ConfigError` for a missing project, and for an emulator of Cloud Monitoring elsewhere than on this machine.
    """
    if not cluster.project:
        raise ConfigError("Pub/Sub needs a project: set POSTMAN_PROJECT or GOOGLE_CLOUD_PROJECT")
    emulator = os.environ.get(_EMULATOR, "")
    if emulator and not is_on_this_machine(emulator):
        raise ConfigError(f"{_EMULATOR}: must be host:port on this machine")
    if emulator:
        return PubsubBacklogs(cluster, base_url=f"http://{emulator}", authorise=nobody)
    if rest or os.environ.get("PUBSUB_EMULATOR_HOST"):
        return None
    return PubsubBacklogs(cluster)


class PubsubBacklogs:
    """See the module; *limit* is seconds for a look."""

    def __init__(
        self, cluster: Cluster, *, base_url: str = GOOGLE, authorise: Authorise | None = None, limit: float = 8.0
    ) -> None:
        self._clock = cluster.clock
        self._names = f"{cluster.prefix}-mail-"
        self._monitoring = Monitoring(
            cluster.project, base_url=base_url, authorise=authorise or GoogleHeaders(), limit=limit
        )

    async def look(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return await self._look({f"{self._names}{shard}": shard for shard in shards}, "")

    async def look_dead(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        return await self._look({f"{self._names}{shard}-dead": shard for shard in shards}, "-dead")

    async def aclose(self) -> None:
        await self._monitoring.aclose()

    async def _look(self, shards: Mapping[str, int], ending: str) -> Mapping[int, Backlog]:
        if not shards:
            return {}
        names = f"{_literally(self._names)}[0-9]+{ending}"
        answers = await asyncio.gather(self._latest(_COUNT, names), self._latest(_AGE, names), return_exceptions=True)
        counts, ages = map(_answer, answers)
        found = {name: _backlog(counts[name], ages.get(name)) for name in shards.keys() & counts.keys()}
        return {shards[name]: backlog for name, backlog in found.items() if backlog is not None}

    async def _latest(self, metric: str, names: str) -> Mapping[str, Measured]:
        """Ask for one metric: more than one cannot be asked for at a time."""
        wanted = (
            f'metric.type = "pubsub.googleapis.com/subscription/{metric}" AND resource.type = "pubsub_subscription"'
            f' AND resource.labels.subscription_id = monitoring.regex.full_match("{names}")'
        )
        now = self._clock.time()
        return await self._monitoring.latest(wanted, since=now - _WINDOW, until=now)


def _answer(answer: Mapping[str, Measured] | BaseException) -> Mapping[str, Measured]:
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _backlog(count: Measured, age: Measured | None) -> Backlog | None:
    """Put two measurements together, which may be of different minutes; None where one that is needed is missing."""
    waiting, at = count
    if not waiting:
        return Backlog(0, 0.0, at)
    return Backlog(waiting, float(age[0]), min(at, age[1])) if age else None


def _literally(text: str) -> str:
    """Return a pattern for *text*, without a backslash, which the filter's own quotes would take."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda match: f"[{match[0]}]", text)
