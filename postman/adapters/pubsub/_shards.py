"""The queues of a cluster: their names, how they are made and how they are checked."""

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Any

from google.pubsub_v1 import types

from postman.adapters._numbered import Numbered
from postman.adapters.pubsub._connection import (
    CREATE_SUBSCRIPTION,
    CREATE_TOPIC,
    GET_SUBSCRIPTION,
    Connection,
)
from postman.adapters.pubsub._queue import PubsubQueue, Resource
from postman.errors import ConfigError, PostmanError, QueueUnavailableError
from postman.ports.opening import Cluster
from postman.ports.queue import Queue

__all__ = ["PubsubShards", "open_shards"]

_DAY = 24 * 3_600
_RETENTION = 7 * _DAY
_DEAD_RETENTION = 31 * _DAY
_EMULATED_RETENTION = 7 * _DAY
"""Seconds; the most that the emulator takes."""
_MAX_ATTEMPTS = 100
_MAKE_PATIENCE = 20.0
_CHECK_PATIENCE = 5.0
_PREFIX = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{0,200}")


class PubsubShards:
    """A `ShardMap`; all its queues share one connection."""

    def __init__(self, cluster: Cluster, connection: Connection) -> None:
        self._cluster = cluster
        self._connection = connection
        self._ack_deadline = round(min(max(cluster.ack_deadline, 10.0), 600.0))
        self._queues = Numbered(lambda shard: self._open(_resource(cluster, shard)))
        self._dead = Numbered(lambda shard: self._open(_dead_resource(cluster, shard)))

    @property
    def count(self) -> int:
        return self._cluster.shards

    def queue(self, shard: int) -> Queue:
        return self._queues[shard]

    def dead(self, shard: int) -> Queue:
        return self._dead[shard]

    async def ensure(self, shards: Sequence[int] | None = None) -> Sequence[str]:
        """Make topics, then subscriptions, each kind at once; none leases for a shorter time than shard 0 does.

        No retry policy: with one, the emulator can stop redelivering for good, and a hand-back by a draining worker
        would be delayed. On Google Cloud, Pub/Sub's own service account needs leave to forward dead letters; that is
        for Terraform to give.
        """
        wanted = range(self.count) if shards is None else shards
        resources = [resource for shard in wanted for resource in self._resources(shard)]
        topics = await asyncio.gather(*(self._make_topic(resource) for resource in resources))
        lease = await self._longest_lease()
        subscriptions = await asyncio.gather(*(self._make_subscription(resource, lease) for resource in resources))
        return [name for name in (*topics, *subscriptions) if name]

    async def check(self, shard: int) -> None:
        """Ask for the subscription and that of its dead letters; raise the first complaint.

        An ack deadline that is too short for the settings is a wrong setting in shard 0, and elsewhere that shard's own
        trouble, for which no worker stops.
        """
        too_short = QueueUnavailableError if shard else ConfigError
        checks = (self._check(resource, too_short) for resource in self._resources(shard))
        for answer in await asyncio.gather(*checks, return_exceptions=True):
            if answer is not None:
                raise answer

    async def depth(self, shard: int) -> None:
        """Pub/Sub counts what lies in a subscription only in a metric, which is minutes old."""

    async def aclose(self) -> None:
        await asyncio.gather(*(queue.aclose() for queue in (*self._queues.values(), *self._dead.values())))
        await self._connection.aclose()

    def _open(self, resource: Resource) -> PubsubQueue:
        return PubsubQueue(resource, self._connection, self._cluster.clock, ack_deadline=self._ack_deadline)

    def _resources(self, shard: int) -> Sequence[Resource]:
        return (self._queues[shard].resource, self._dead[shard].resource)

    async def _make_topic(self, resource: Resource) -> str:
        request = CREATE_TOPIC.request(name=resource.topic)
        made = await self._connection.create(CREATE_TOPIC, request, timeout=_MAKE_PATIENCE)
        return f"topic {resource.name}" if made else ""

    async def _longest_lease(self) -> int:
        """Return the ack deadline that is set, or that of shard 0, which the workers rely on, where that is longer."""
        request = _asking_for(self._queues[0].resource)
        found = await self._connection.find(GET_SUBSCRIPTION, request, timeout=_CHECK_PATIENCE)
        return max(self._ack_deadline, found.ack_deadline_seconds if found else 0)

    async def _make_subscription(self, resource: Resource, lease: int) -> str:
        request = self._subscription(resource, lease)
        made = await self._connection.create(CREATE_SUBSCRIPTION, request, timeout=_MAKE_PATIENCE)
        return f"subscription {resource.name}" if made else ""

    def _subscription(self, resource: Resource, lease: int) -> Any:
        """Describe the subscription: it never expires, and a shard's counts attempts, which Pub/Sub does only so."""
        request = CREATE_SUBSCRIPTION.request(
            name=resource.subscription, topic=resource.topic, ack_deadline_seconds=lease
        )
        request.expiration_policy.SetInParent()
        request.message_retention_duration.seconds = self._retention(resource)
        if resource.dead_letters:
            request.dead_letter_policy.dead_letter_topic = resource.dead_letters
            request.dead_letter_policy.max_delivery_attempts = _MAX_ATTEMPTS
        return request

    def _retention(self, resource: Resource) -> int:
        if resource.dead_letters:
            return _RETENTION
        return _EMULATED_RETENTION if self._connection.is_emulated else _DEAD_RETENTION

    async def _check(self, resource: Resource, too_short: type[PostmanError]) -> None:
        found = await self._connection.call(GET_SUBSCRIPTION, _asking_for(resource), timeout=_CHECK_PATIENCE)
        if found.topic != resource.topic:
            raise QueueUnavailableError(
                f"subscription {resource.name} has lost its topic: remove it, run `postman init`"
            )
        if found.ack_deadline_seconds < self._ack_deadline:
            raise too_short(
                f"subscription {resource.name} has an ack deadline of {found.ack_deadline_seconds} s, "
                f"shorter than the {self._ack_deadline} s that are set"
            )


def _asking_for(resource: Resource) -> Any:
    return types.GetSubscriptionRequest.pb()(subscription=resource.subscription)


def _resource(cluster: Cluster, shard: int) -> Resource:
    return _named(cluster, f"{shard}", dead_letters=_dead_resource(cluster, shard).topic)


def _dead_resource(cluster: Cluster, shard: int) -> Resource:
    return _named(cluster, f"{shard}-dead", dead_letters="")


def _named(cluster: Cluster, ending: str, *, dead_letters: str) -> Resource:
    project, name = f"projects/{cluster.project}", f"{cluster.prefix}-mail-{ending}"
    return Resource(f"{project}/topics/{name}", f"{project}/subscriptions/{name}", dead_letters)


def open_shards(rest: str, cluster: Cluster) -> PubsubShards:
    """Return the queues of *cluster*; *rest* is empty, or the `host:port` of an emulator.

    Without it the emulator is that of `PUBSUB_EMULATOR_HOST`, if it is set. Raises `ConfigError` for a missing project
    or a prefix that Pub/Sub does not take.
    """
    if not cluster.project:
        raise ConfigError("Pub/Sub needs a project: set POSTMAN_PROJECT or GOOGLE_CLOUD_PROJECT")
    if not _PREFIX.fullmatch(cluster.prefix):
        raise ConfigError(
            f"POSTMAN_PREFIX must begin with a letter and hold only letters, digits and -._~+%: {cluster.prefix!r}"
        )
    return PubsubShards(cluster, Connection(rest or os.environ.get("PUBSUB_EMULATOR_HOST", "")))
