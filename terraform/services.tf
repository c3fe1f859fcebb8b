# What answers requests, from the same image: ingress takes mails, events takes what providers tell, deliver is pushed to,
# console is looked at (console.tf).
locals {
  pushes        = var.push && local.delivers
  push_audience = "${var.prefix}-deliver" # a word: the service's own address cannot stand in its own environment

  service_concurrency = tonumber(lookup(var.settings, "POSTMAN_CONCURRENCY", "50"))

  probes = { console = "/live" }

  services = { for name, service in {
    console = {
      wanted   = local.runs && var.console
      args     = ["console", "--host", "0.0.0.0", "--port", "8080"]
      traffic  = var.console_from_internet ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
      timeout  = "3600s" # a page that is open is one request
      settings = local.console_settings
    }
    deliver = {
      wanted  = local.pushes
      args    = ["functions", "deliver", "--host", "0.0.0.0", "--port", "8080"]
      traffic = "INGRESS_TRAFFIC_INTERNAL_ONLY" # pushes of the same project count as internal
      timeout = "${var.ack_deadline}s"
      settings = merge(local.provider_settings, var.push ? {
        POSTMAN_PUSH_ACCOUNT  = google_service_account.this["pusher"].email
        POSTMAN_PUSH_AUDIENCE = local.push_audience
      } : {})
    }
    events = {
      wanted   = local.delivers && local.hears_events
      args     = ["functions", "events", "--host", "0.0.0.0", "--port", "8080"]
      traffic  = "INGRESS_TRAFFIC_ALL"
      timeout  = "60s"
      settings = local.provider_settings
    }
    ingress = {
      wanted   = local.runs && var.ingress
      args     = ["serve", "--host", "0.0.0.0", "--port", "8080", "--trust-callers"] # IAM has checked them
      traffic  = var.ingress_from_internet ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
      timeout  = "60s"
      settings = {}
    }
  } : name => service if service.wanted }
}

resource "google_cloud_run_v2_service" "this" {
  for_each = local.services

  project             = var.project
  location            = var.region
  name                = "${var.prefix}-${each.key}"
  labels              = local.labels
  ingress             = each.value.traffic
  iap_enabled         = each.key == "console" && var.console_iap ? true : null
  deletion_protection = false # it keeps nothing

  template {
    service_account                  = google_service_account.this[each.key].email
    labels                           = local.labels
    timeout                          = each.value.timeout
    max_instance_request_concurrency = each.key == "console" ? 200 : local.service_concurrency
    session_affinity                 = each.key == "console" ? true : null # who logged in meets the same instance again

    scaling {
      min_instance_count = 0
      max_instance_count = each.key == "console" ? 2 : var.max_service_instances
    }

    containers {
      image = local.image
      args  = each.value.args

      ports {
        container_port = 8080
      }

      resources {
        limits            = { cpu = "1", memory = "1Gi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.settings, each.value.settings)

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 3
        timeout_seconds   = 3
        failure_threshold = 20

        http_get {
          path = lookup(local.probes, each.key, "/healthz")
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = lookup(local.probes, each.key, "/healthz")
        }
      }
    }
  }

  depends_on = [
    google_project_iam_member.reads_ledger,
    google_project_iam_member.uses_ledger,
    google_secret_manager_secret_iam_member.reads,
    google_secret_manager_secret_version.key,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "calls" {
  for_each = contains(keys(local.services), "ingress") ? var.callers : []

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.this["ingress"].name
  role     = "roles/run.invoker"
  member   = each.value
}

# Everybody may call these two, and each request must prove itself: events by their provider's signature, pushes by Pub/Sub's token.
# Cloud Run's own check would take that token's signature away, and deliver could not check it; only the project's networks get there.
resource "google_cloud_run_v2_service_iam_member" "proves_itself" {
  for_each = setintersection(keys(local.services), ["deliver", "events"])

  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.this[each.value].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}
