# Who may publish, pull and look. Nobody may publish before there is a subscription, and nobody any more when it goes:
# a topic without one takes mails and keeps none.
locals {
  senders = { (local.sender) = google_service_account.this[local.sender].member }

  operators = { for each in var.operators : each => each }
  consoles  = var.console ? { console = google_service_account.this["console"].member } : {} # acts as an operator does

  publishers = merge(
    local.senders, # moves mails that lie in the wrong shard
    var.ingress ? { ingress = google_service_account.this["ingress"].member } : {},
    { for each in var.publishers : each => each },
    local.operators, # replays dead letters
    local.consoles,
  )

  pullers = { for name, member in local.senders : name => member if name == "worker" }

  # "3/worker" is what the worker may do to shard 3.
  access = { for what, members in {
    dead_letters = local.senders
    looks        = merge(local.pullers, local.operators)
    publishes    = local.publishers
    pulls        = local.pullers
    takes_dead   = merge(local.operators, local.consoles)
    } : what => merge([for shard in keys(local.shards) :
      { for name, member in members : "${shard}/${name}" => { shard = shard, member = member } }
    ]...)
  }
}

resource "google_pubsub_topic_iam_member" "publishes" {
  for_each = local.access.publishes

  project = var.project
  topic   = google_pubsub_topic.shard[each.value.shard].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member

  depends_on = [google_pubsub_subscription.shard]
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = local.access.dead_letters

  project = var.project
  topic   = google_pubsub_topic.dead[each.value.shard].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member

  depends_on = [google_pubsub_subscription.dead]
}

resource "google_pubsub_subscription_iam_member" "pulls" {
  for_each = local.access.pulls

  project      = var.project
  subscription = google_pubsub_subscription.shard[each.value.shard].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

resource "google_pubsub_subscription_iam_member" "takes_dead" {
  for_each = local.access.takes_dead

  project      = var.project
  subscription = google_pubsub_subscription.dead[each.value.shard].name
  role         = "roles/pubsub.subscriber"
  member       = each.value.member
}

# A worker checks topic and ack deadline of what it pulls before it starts.
resource "google_pubsub_subscription_iam_member" "looks" {
  for_each = local.access.looks

  project      = var.project
  subscription = google_pubsub_subscription.shard[each.value.shard].name
  role         = "roles/pubsub.viewer"
  member       = each.value.member
}

resource "google_pubsub_subscription_iam_member" "looks_at_dead" {
  for_each = local.access.looks

  project      = var.project
  subscription = google_pubsub_subscription.dead[each.value.shard].name
  role         = "roles/pubsub.viewer"
  member       = each.value.member
}
