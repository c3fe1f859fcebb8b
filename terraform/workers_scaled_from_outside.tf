# The pools of workers.tf once more, for who scales them from outside: Terraform cannot leave an argument alone on condition.
resource "google_cloud_run_v2_worker_pool" "scaled_from_outside" {
  for_each = var.scaled_from_outside ? local.pools : {}

  project             = var.project
  location            = var.region
  name                = each.key
  labels              = local.labels
  deletion_protection = false # it keeps nothing

  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.workers
  }

  template {
    service_account = google_service_account.this["worker"].email
    labels          = local.labels

    containers {
      image = local.image
      args  = ["worker"]

      resources {
        limits = { cpu = var.worker_limits.cpu, memory = local.worker_memory }
      }

      dynamic "env" {
        for_each = each.value

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 3
        failure_threshold = 24

        http_get {
          path = "/live"
          port = local.probe_port
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/live"
          port = local.probe_port
        }
      }
    }
  }

  depends_on = [
    google_firestore_field.ordered,
    google_project_iam_member.uses_ledger,
    google_pubsub_subscription_iam_member.looks,
    google_pubsub_subscription_iam_member.looks_at_dead,
    google_pubsub_subscription_iam_member.pulls,
    google_pubsub_topic_iam_member.dead_letters,
    google_pubsub_topic_iam_member.publishes,
    google_secret_manager_secret_iam_member.reads,
    google_secret_manager_secret_version.key,
  ]

  lifecycle {
    ignore_changes = [scaling[0].manual_instance_count]
  }
}
