# What wakes somebody. The keys are the alerts' names, which docs/runbook.md has too.
locals {
  # PromQL's names of our metrics; a counted event comes from one kind of resource only, which PromQL wants to know.
  shard_series = "{monitored_resource=\"pubsub_subscription\",subscription_id=~\"${var.prefix}-mail-[0-9]+\"}"
  dead_series  = "{monitored_resource=\"pubsub_subscription\",subscription_id=~\"${var.prefix}-mail-[0-9]+-dead\"}"
  event_series = { for event in keys(local.counted) : event => join("", [
    "logging_googleapis_com:user_postman_${replace(var.prefix, "-", "_")}_${event}",
    "{monitored_resource=\"${var.push || event == "event_post_refused" ? "cloud_run_revision" : "cloud_run_worker_pool"}\"}",
  ]) }

  waiting_age   = "pubsub_googleapis_com:subscription_oldest_unacked_message_age"
  waiting_count = "pubsub_googleapis_com:subscription_num_undelivered_messages"
  acknowledged  = "pubsub_googleapis_com:subscription_ack_message_count"

  alerts = { for name, alert in {
    dead_letters = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum by (subscription_id) (${local.waiting_count}${local.dead_series}) > 0"
      says     = "Mails were not sent, and wait for a person. `postman dead list` has the reasons; after the cause is mended, `postman dead replay`."
    }
    dead_letters_expire = {
      severity = "CRITICAL"
      lasting  = "0s"
      query    = "max by (subscription_id) (${local.waiting_age}${local.dead_series}) > ${25 * local.day}"
      says     = "In less than six days Pub/Sub deletes dead letters for good. `postman dead list`, then replay or drop them."
    }
    doubts = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum by (provider) (increase(${local.event_series.in_doubt}[10m])) > ${var.alert_when.doubts}"
      says     = "Mails may have been sent, and nobody knows: a provider breaks off, or workers die while they send. They are asked for by themselves; find out what ends the requests."
    }
    events_refused = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum by (provider) (increase(${local.event_series.event_post_refused}[1h])) > ${var.alert_when.forged_posts}"
      says     = "Posts of events do not bear the provider's signature: somebody tries, or the webhook key is the wrong one. A wrong key loses events after a day at SendGrid, after eight hours at Mailgun."
      wanted   = local.hears_events
    }
    keys_stale = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum(increase(${local.event_series.keys_stale}[10m])) > 0"
      says     = "Keys cannot be read from Secret Manager any more, and the last ones are used further. Workers that start now cannot. The event names the secrets and the reason."
    }
    ledger_unavailable = {
      severity = "CRITICAL"
      lasting  = "300s"
      query    = "sum(increase(${local.event_series.ledger_unavailable}[5m])) > 0"
      says     = "Workers cannot reach the ledger, and send nothing without it. Mails wait. See Firestore's status, its quotas, and roles/datastore.user of the accounts."
    }
    mails_expire = {
      severity = "CRITICAL"
      lasting  = "0s"
      query    = "max by (subscription_id) (${local.waiting_age}${local.shard_series}) > ${5 * local.day}"
      says     = "In less than two days Pub/Sub deletes mails that nobody pulled. Is the shard paused, or without workers?"
    }
    mails_late = {
      severity = "ERROR"
      lasting  = "120s"
      query    = "max by (subscription_id) (${local.waiting_age}${local.shard_series}) > ${var.alert_when.late_after}"
      says     = "The oldest mail waits too long. `postman status` tells whether workers or providers are the cause. Mails with a `send_at` ahead wait as well, as do those of a paused shard."
    }
    not_recorded = {
      severity = "ERROR"
      lasting  = "0s"
      query    = "sum(increase(${local.event_series.sent_but_not_recorded}[10m])) > 0"
      says     = "Mails were sent and cannot be recorded, since the ledger is away. Do not stop workers now: they insist until it is back."
    }
    nothing_acknowledged = {
      severity = "CRITICAL"
      lasting  = "300s"
      query    = "(sum(${local.waiting_count}${local.shard_series}) > 0) unless (sum(increase(${local.acknowledged}${local.shard_series}[10m])) > 0)"
      says     = "Mails wait and none was finished for ten minutes: no worker lives, all providers are down, or the ledger is away. `postman status` tells which."
    }
    nothing_reachable = {
      severity = "ERROR"
      lasting  = "0s"
      query    = "sum(increase(${local.event_series.local_fault}[10m])) > 0"
      says     = "A worker reaches no provider at all, which is rather its network's fault: egress, DNS, a firewall."
    }
    provider_down = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum by (provider) (increase(${local.event_series.provider_down}[10m])) > 0"
      says     = "A breaker is open: mails go to the other providers. Nothing to do while these take them; see the provider's status page."
    }
    provider_locked_out = {
      severity = "ERROR"
      lasting  = "0s"
      query    = "sum by (provider) (increase(${local.event_series.provider_locked_out}[10m])) > 0"
      says     = "A provider refuses our key, or its quota is spent. Waiting does not mend it: write a new key to its secret, or raise the quota."
    }
    providers_refused = {
      severity = "ERROR"
      lasting  = "0s"
      query    = "sum(increase(${local.event_series.providers_not_changed}[10m])) > 0"
      says     = "The providers' document, or a key that it names, cannot be used. Mails go on with what was known before, and a worker that starts now has nothing: mend it soon. `postman status` says what is wrong."
    }
    pushes_refused = {
      severity = "ERROR"
      lasting  = "300s"
      query    = "sum by (standing) (increase(${local.event_series.push_refused}[10m])) > 0"
      says     = "Pushes do not bear the token that deliver expects. Pub/Sub's own must: compare audience and account of the subscriptions with POSTMAN_PUSH_AUDIENCE and POSTMAN_PUSH_ACCOUNT."
      wanted   = var.push
    }
    workers_unfit = {
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum by (health) (increase(${local.event_series.unfit}[30m])) > 3"
      says     = "Workers leave one after the other because their peers find them slow or stalled. One is normal; several share a cause: memory, processor, network."
      wanted   = !var.push
    }
  } : name => alert if lookup(alert, "wanted", true) }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project
  display_name = "postman ${var.prefix}: ${each.value}"
  type         = "email"
  labels       = { email_address = each.value }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project      = var.project
  display_name = "postman ${var.prefix}: ${each.key}"
  combiner     = "OR"
  severity     = each.value.severity
  user_labels  = merge(local.labels, { alert = each.key })

  notification_channels = concat(
    sort(var.notification_channels),
    [for email in sort(var.alert_emails) : google_monitoring_notification_channel.email[email].id],
  )

  conditions {
    display_name = each.key

    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.lasting
      evaluation_interval       = "60s"
      disable_metric_validation = true # before the first event there is no such metric
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.value.says}\n\nRunbook: docs/runbook.md#${each.key}"
  }

  alert_strategy {
    auto_close = "${local.day}s"
  }

  depends_on = [google_logging_metric.event]
}
