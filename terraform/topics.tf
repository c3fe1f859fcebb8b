# A shard is a topic with a subscription, and another pair for its dead letters. Shards are keyed by number, so that a cluster
# that grows touches none that it has. Names are the code's: postman/adapters/pubsub.
locals {
  shards = { for shard in range(coalesce(var.queues, var.shards)) : tostring(shard) => "${var.prefix}-mail-${shard}" }

  storage_regions = length(var.storage_regions) > 0 ? var.storage_regions : [var.region]

  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  day = 86400
}

resource "google_pubsub_topic" "shard" {
  for_each = local.shards

  project = var.project
  name    = each.value
  labels  = local.labels

  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
  }

  depends_on = [google_project_service.this]
}

resource "google_pubsub_topic" "dead" {
  for_each = local.shards

  project = var.project
  name    = "${each.value}-dead"
  labels  = local.labels

  message_storage_policy {
    allowed_persistence_regions = local.storage_regions
  }

  depends_on = [google_project_service.this]
}

# Pulled: no retry policy, since workers say themselves when a mail shall come back, and a policy would come on top.
# Pushed: one, since a status code cannot say when.
resource "google_pubsub_subscription" "shard" {
  for_each = local.shards

  project                    = var.project
  name                       = each.value
  topic                      = google_pubsub_topic.shard[each.key].id
  labels                     = local.labels
  ack_deadline_seconds       = var.ack_deadline
  message_retention_duration = "${7 * local.day}s"

  expiration_policy {
    ttl = ""
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead[each.key].id
    max_delivery_attempts = 100
  }

  dynamic "push_config" {
    for_each = local.pushes ? [local.push_audience] : []

    content {
      push_endpoint = "${google_cloud_run_v2_service.this["deliver"].uri}/"

      oidc_token {
        service_account_email = google_service_account.this["pusher"].email
        audience              = push_config.value
      }
    }
  }

  dynamic "retry_policy" {
    for_each = var.push ? [1] : []

    content {
      minimum_backoff = "10s"
      maximum_backoff = "600s"
    }
  }

  # What is forwarded must find a subscription, or it is lost.
  depends_on = [google_pubsub_subscription.dead]
}

resource "google_pubsub_subscription" "dead" {
  for_each = local.shards

  project                    = var.project
  name                       = "${each.value}-dead"
  topic                      = google_pubsub_topic.dead[each.key].id
  labels                     = local.labels
  ack_deadline_seconds       = var.ack_deadline
  message_retention_duration = "${31 * local.day}s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself forwards what was handed out a hundred times and never settled.
resource "google_pubsub_topic_iam_member" "agent_forwards" {
  for_each = local.shards

  project = var.project
  topic   = google_pubsub_topic.dead[each.key].name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent

  depends_on = [google_pubsub_subscription.dead]
}

resource "google_pubsub_subscription_iam_member" "agent_forwards" {
  for_each = local.shards

  project      = var.project
  subscription = google_pubsub_subscription.shard[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
