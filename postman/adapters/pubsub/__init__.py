"""Google Cloud Pub/Sub: a topic with a subscription for each shard, and another pair for its dead letters.

*Delivery semantics.* At least once, in any order. A lease is the subscription's
ack deadline. `publish` returns when Pub/Sub has stored the message; a reply that is
lost on the way makes two messages of one mail. Attempts are counted by Pub/Sub,
approximately, and only on shards, because it counts only where a dead-letter
policy is: its limit is 100, and a message that was handed out 90 times and is
given back is published anew, so that waiting never dead-letters a mail. Such a
message comes back at once, without its delay, and counts from one again. What
Pub/Sub itself forwards to the dead letters is a message that was handed out a
hundred times and never settled.

*Pulls* are unary and are never cancelled: a cancelled pull, or a stream, takes
messages along which then wait for a whole lease. `pull` never waits less than
about a second while there is nothing. Closing waits for the pulls under way.

*Settings.* The project (`POSTMAN_PROJECT`, else `GOOGLE_CLOUD_PROJECT`); the emulator by
`PUBSUB_EMULATOR_HOST`, else Google's default credentials. The ack deadline is held
within Pub/Sub's 10 to 600 seconds. Roles: `roles/pubsub.publisher` on the topics,
`roles/pubsub.subscriber` and, for `check`, `roles/pubsub.viewer` on the subscriptions, `roles/pubsub.editor` to make
both; `roles/monitoring.viewer` on the project for the backlog.
"""

from postman.adapters.pubsub._queue import PubsubQueue
from postman.adapters.pubsub._shards import PubsubShards, open_shards

__all__ = ["PubsubQueue", "PubsubShards", "open_shards"]
