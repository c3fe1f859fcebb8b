# The providers' keys. Terraform hands them on to Secret Manager and forgets them; postman reads them there by name.
locals {
  hears_events = anytrue([for each in values(var.mail_providers) : each.events])

  # Keyed as the secrets are named: "sendgrid-api-key".
  keys = merge(
    { for name, each in var.mail_providers : "${name}-api-key" => { provider = name, field = "api_key", version = each.key_version } },
    { for name, each in var.mail_providers : "${name}-webhook-key" => { provider = name, field = "webhook_key", version = each.key_version } if each.events },
  )

  key_readers = merge(
    { for key, each in local.keys : "${key}/${local.sender}" => { key = key, account = local.sender } if each.field == "api_key" },
    { for key, each in local.keys : "${key}/events" => { key = key, account = "events" } if each.field == "webhook_key" },
  )

  providers_document = {
    provider = [for name, each in var.mail_providers : { for field, value in {
      api_key       = "secret:${var.prefix}-${name}-api-key"
      base_url      = each.base_url
      concurrency   = each.concurrency
      domain        = each.domain
      enabled       = each.enabled
      kind          = each.kind
      look_up_after = each.look_up_after
      name          = name
      rate          = each.rate
      timeout       = each.timeout
      webhook_key   = each.events ? "secret:${var.prefix}-${name}-webhook-key" : null
      weight        = each.weight
    } : field => value if value != null }]
  }
}

resource "google_secret_manager_secret" "key" {
  for_each = local.keys

  project             = var.project
  secret_id           = "${var.prefix}-${each.key}"
  labels              = local.labels
  version_destroy_ttl = "604800s"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.this]
}

# A new version comes before the old one is forgotten, and the old one stays usable until a person disables it.
resource "google_secret_manager_secret_version" "key" {
  for_each = { for key, each in local.keys : key => each if each.version > 0 }

  secret                 = google_secret_manager_secret.key[each.key].id
  secret_data_wo         = var.provider_keys[each.value.provider][each.value.field]
  secret_data_wo_version = tostring(each.value.version)
  deletion_policy        = "ABANDON"

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "reads" {
  for_each = local.key_readers

  project   = var.project
  secret_id = google_secret_manager_secret.key[each.value.key].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.this[each.value.account].member
}
