# Who is woken, and by what.
mock_provider "google" {}

variables {
  project        = "acme-mail"
  region         = "europe-west1"
  shards         = 1
  mail_providers = { sendgrid = { kind = "sendgrid", key_version = 0 } }
}

run "all_of_them" {
  command = plan

  variables {
    alert_emails          = ["night@example.org"]
    alert_when            = { late_after = 90 }
    notification_channels = ["projects/acme-mail/notificationChannels/1"]
  }

  assert {
    condition     = alltrue([for name in ["dead_letters", "doubts", "mails_late", "nothing_acknowledged", "provider_down"] : contains(keys(output.alerts), name)]) && !contains(keys(output.alerts), "events_refused")
    error_message = "There must be an alert for what nobody should sleep through, and none for events that nobody posts."
  }

  assert {
    condition     = endswith(google_monitoring_alert_policy.this["mails_late"].conditions[0].condition_prometheus_query_language[0].query, "> 90")
    error_message = "The limits must be those that were set."
  }

  assert {
    condition     = alltrue([for name, each in google_monitoring_alert_policy.this : endswith(each.documentation[0].content, "docs/runbook.md#${name}")])
    error_message = "An alert must name its place in the runbook."
  }

  assert {
    condition     = google_monitoring_notification_channel.email["night@example.org"].labels.email_address == "night@example.org"
    error_message = "The address must have a channel."
  }
}
