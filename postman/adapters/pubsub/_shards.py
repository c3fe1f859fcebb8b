"""The queues of a cluster: their names, how they are made and how they are checked."""

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Any

from google.pubsub_v1 import types

from postman.adapters.pubsub._connection import (
    CREATE_SUBSCRIPTION,
    CREATE_TOPIC,
    GET_SUBSCRIPTION,
    Connection,
)
from postman.adapters.pubsub._queue import PubsubQueue, Resource
from postman.errors import ConfigError, QueueUnavailableError
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
        self._connection = connection
        self._ack_deadline = round(min(max(cluster.ack_deadline, 10.0), 600.0))
        base = f"{cluster.prefix}-mail-"
        self._live = [_resource(cluster.project, f"{base}{shard}") for shard in range(cluster.shards)]
        self._lost = [_resource(cluster.project, f"{base}{shard}-dead") for shard in range(cluster.shards)]
        self._queues = [self._queue(resource, cluster) for resource in self._live]
        self._dead = [self._queue(resource, cluster) for resource in self._lost]

    def _queue(self, resource: Resource, cluster: Cluster) -> PubsubQueue:
        return PubsubQueue(resource, self._connection, cluster.clock, ack_deadline=self._ack_deadline)

    @property
    def count(self) -> int:
        return len(self._queues)

    def queue(self, shard: int) -> Queue:
        return self._queues[shard]

    def dead(self, shard: int) -> Queue:
        return self._dead[shard]

    async def ensure(self) -> Sequence[str]:
        """Make topics, then subscriptions, each kind at once.

        No retry policy: with one, the emulator can stop redelivering for good, and a hand-back by a draining worker
        would be delayed. On Google Cloud, Pub/Sub's own service account needs leave to forward dead letters; that is
        for Terraform to give.
        """
        resources = [*self._live, *self._lost]
        topics = await asyncio.gather(*(self._make_topic(resource) for resource in resources))
        subscriptions = await asyncio.gather(*(self._make_subscription(resource) for resource in resources))
        return [name for name in (*topics, *subscriptions) if name]

    async def check(self) -> None:
        """Ask for every subscription; raise the first complaint."""
        answers = await asyncio.gather(
            *(self._check(each) for each in (*self._live, *self._lost)), return_exceptions=True
        )
        for answer in answers:
            if answer is not None:
                raise answer

    async def aclose(self) -> None:
        await asyncio.gather(*(queue.aclose() for queue in (*self._queues, *self._dead)))
        await self._connection.aclose()

    async def _make_topic(self, resource: Resource) -> str:
        request = CREATE_TOPIC.request(name=resource.topic)
        made = await self._connection.create(CREATE_TOPIC, request, timeout=_MAKE_PATIENCE)
        return f"topic {resource.name}" if made else ""

    async def _make_subscription(self, resource: Resource) -> str:
        request = self._subscription(resource)
        made = await self._connection.create(CREATE_SUBSCRIPTION, request, timeout=_MAKE_PATIENCE)
        return f"subscription {resource.name}" if made else ""

    def _subscription(self, resource: Resource) -> Any:
        """Describe the subscription: it never expires, and a shard's counts attempts, which Pub/Sub does only so."""
        request = CREATE_SUBSCRIPTION.request(
            name=resource.subscription, topic=resource.topic, ack_deadline_seconds=self._ack_deadline
        )
        request.expiration_policy.SetInParent()
        request.message_retention_duration.seconds = self._retention(resource)
        if resource in self._live:
            request.dead_letter_policy.dead_letter_topic = f"{resource.topic}-dead"
            request.dead_letter_policy.max_delivery_attempts = _MAX_ATTEMPTS
        return request

    def _retention(self, resource: Resource) -> int:
        if resource in self._live:
            return _RETENTION
        return _EMULATED_RETENTION if self._connection.is_emulated else _DEAD_RETENTION

    async def _check(self, resource: Resource) -> None:
        request = types.GetSubscriptionRequest.pb()(subscription=resource.subscription)
        found = await self._connection.call(GET_SUBSCRIPTION, request, timeout=_CHECK_PATIENCE)
        if found.topic != resource.topic:
            raise QueueUnavailableError(
                f"subscription {resource.name} has lost its topic: remove it, run `postman init`"
            )
        if found.ack_deadline_seconds < self._ack_deadline:
            raise ConfigError(
                f"subscription {resource.name} has an ack deadline of {found.ack_deadline_seconds} s, "
                f"shorter than the {self._ack_deadline} s that are set"
            )


def _resource(project: str, name: str) -> Resource:
    return Resource(f"projects/{project}/topics/{name}", f"projects/{project}/subscriptions/{name}")


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
