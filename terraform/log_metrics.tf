# What postman's log tells, counted: an event's name, and by which of its fields.
locals {
  counted = {
    dead_lettered         = ["reason"]
    doubt_settled         = ["outcome", "provider"]
    event_post_refused    = ["provider"]
    failed_over           = ["provider"]
    in_doubt              = ["provider"]
    keys_stale            = []
    ledger_unavailable    = []
    local_fault           = []
    provider_down         = ["provider"]
    provider_locked_out   = ["provider"]
    provider_recovered    = ["provider"]
    providers_not_changed = []
    push_refused          = ["standing"]
    sent                  = ["provider"]
    sent_but_not_recorded = ["provider"]
    unfit                 = ["health"]
  }

  own_logs = join(" OR ", [
    "resource.labels.worker_pool_name=~\"^${var.prefix}-worker(-[0-9]+)?$\"",
    "resource.labels.service_name=~\"^${var.prefix}-(console|deliver|events|ingress)$\"",
  ])
}

resource "google_logging_metric" "event" {
  for_each = local.counted

  project          = var.project
  name             = "postman/${var.prefix}/${each.key}"
  description      = "How often postman logged ${each.key}"
  filter           = "jsonPayload.event=\"${each.key}\" AND (${local.own_logs})"
  label_extractors = { for field in each.value : field => "EXTRACT(jsonPayload.${field})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    dynamic "labels" {
      for_each = each.value

      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  depends_on = [google_project_service.this]
}
