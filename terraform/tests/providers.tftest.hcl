# With which providers a cluster starts, and what becomes of their keys.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project = "acme-mail"
  region  = "europe-west1"
  image   = "postman@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  shards  = 1
}

run "none" {
  command = plan

  assert {
    condition     = length(output.worker_pools) == 0 && keys(google_cloud_run_v2_service.this) == ["ingress"] && length(output.secrets) == 0
    error_message = "Without a provider nothing may run that sends; mails wait."
  }
}

run "three" {
  command = plan

  variables {
    mail_providers = {
      mailgun-eu = { kind = "mailgun", domain = "mg.example.org", base_url = "https://api.eu.mailgun.net", look_up_after = 1800, events = true }
      resend     = { kind = "resend", weight = 0, enabled = false, key_version = 0 }
      sendgrid   = { kind = "sendgrid", rate = 50, concurrency = 20, timeout = 10, key_version = 3 }
    }
    provider_keys = {
      mailgun-eu = { api_key = "a key", webhook_key = "a signing key" }
      sendgrid   = { api_key = "another key" }
    }
  }

  assert {
    condition = output.secrets == {
      mailgun-eu-api-key     = "postman-mailgun-eu-api-key"
      mailgun-eu-webhook-key = "postman-mailgun-eu-webhook-key"
      resend-api-key         = "postman-resend-api-key"
      sendgrid-api-key       = "postman-sendgrid-api-key"
    }
    error_message = "Each provider must have a secret for its key, and for its webhook's where it posts events."
  }

  assert {
    condition     = { for key, each in google_secret_manager_secret_version.key : key => each.secret_data_wo_version } == { mailgun-eu-api-key = "1", mailgun-eu-webhook-key = "1", sendgrid-api-key = "3" }
    error_message = "A key must be written at its version, and none at version 0."
  }

  assert {
    condition = one([for each in one(google_cloud_run_v2_worker_pool.this["postman-worker"].template[0].containers).env : jsondecode(each.value) if each.name == "POSTMAN_PROVIDERS_SEED"]) == {
      provider = [
        { api_key = "secret:postman-mailgun-eu-api-key", base_url = "https://api.eu.mailgun.net", domain = "mg.example.org", enabled = true, kind = "mailgun", look_up_after = 1800, name = "mailgun-eu", webhook_key = "secret:postman-mailgun-eu-webhook-key", weight = 1 },
        { api_key = "secret:postman-resend-api-key", enabled = false, kind = "resend", name = "resend", weight = 0 },
        { api_key = "secret:postman-sendgrid-api-key", concurrency = 20, enabled = true, kind = "sendgrid", name = "sendgrid", rate = 50, timeout = 10, weight = 1 },
      ]
    }
    error_message = "The seed must be the map, with references in the place of keys."
  }

  assert {
    condition     = sort(keys(google_cloud_run_v2_service.this)) == tolist(["events", "ingress"]) && keys(google_cloud_run_v2_service_iam_member.proves_itself) == ["events"]
    error_message = "A provider with events must find a service for them that everybody may call."
  }

  assert {
    condition     = output.event_urls["mailgun-eu"] == "https://postman-events-123456789012.europe-west1.run.app/v1/events/mailgun-eu"
    error_message = "The address for a provider's events must be known beforehand."
  }
}

run "a_key_is_missing" {
  command = plan

  variables {
    mail_providers = { sendgrid = { kind = "sendgrid", events = true } }
    provider_keys  = { sendgrid = { api_key = "a key" } }
  }

  expect_failures = [var.provider_keys]
}

run "none_is_enabled" {
  command = plan

  variables {
    mail_providers = { sendgrid = { kind = "sendgrid", enabled = false, key_version = 0 } }
  }

  expect_failures = [var.mail_providers]
}

run "mailgun_without_its_domain" {
  command = plan

  variables {
    mail_providers = { mailgun = { kind = "mailgun", key_version = 0 } }
  }

  expect_failures = [var.mail_providers]
}
