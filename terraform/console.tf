# Who gets to the console, as whom, and what it reads beside the ledger: the service itself is in services.tf. Either Cloud Run
# checks leave to invoke, and names the caller; or Identity-Aware Proxy logs people in, and alone may invoke.
locals {
  console_settings = merge(
    { POSTMAN_PROVIDERS = local.provider_settings.POSTMAN_PROVIDERS, POSTMAN_CONSOLE_IDENTITY = var.console_iap ? "iap" : "cloudrun" },
    var.console_iap ? { POSTMAN_CONSOLE_AUDIENCE = "/projects/${data.google_project.this.number}/locations/${var.region}/services/${var.prefix}-console" } : {},
    length(var.console_operators) > 0 ? { POSTMAN_CONSOLE_OPERATORS = join(",", sort(var.console_operators)) } : {},
  )

  proxy_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-iap.iam.gserviceaccount.com"
}

resource "google_cloud_run_v2_service_iam_member" "looks" {
  for_each = contains(keys(local.services), "console") ? (var.console_iap ? toset([local.proxy_agent]) : var.console_users) : []

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.this["console"].name
  role     = "roles/run.invoker"
  member   = each.value
}

# How much waits in the shards: Google tells it for a whole project only.
resource "google_project_iam_member" "reads_metrics" {
  for_each = merge(local.operators, local.consoles)

  project = var.project
  role    = "roles/monitoring.viewer"
  member  = each.value
}
