# Worker pools: containers without requests, which pull. One that opens all shards, or one for each.
locals {
  pool_shards = var.pool_per_shard ? { for shard in keys(local.shards) : "${var.prefix}-worker-${shard}" => shard } : { "${var.prefix}-worker" = "" }

  pools = local.delivers && !var.push ? { for name, shard in local.pool_shards : name => merge(
    local.settings,
    local.provider_settings,
    { POSTMAN_PROBE_PORT = tostring(local.probe_port) },
    shard == "" ? {} : { POSTMAN_ONLY_SHARDS = shard },
  ) } : {}

  # A worker needs 160 MiB, and twice what it may hold of messages: POSTMAN_MEMORY, and one of 10 MB for each shard.
  held_mebibytes = tonumber(lookup(var.settings, "POSTMAN_MEMORY", "268435456")) / 1048576 + 10 * (var.pool_per_shard ? 1 : length(local.shards))
  worker_memory  = coalesce(var.worker_limits.memory, "${ceil((160 + 2 * local.held_mebibytes) / 512) * 512}Mi")

  scales_by_cpu = var.max_workers > var.workers
  probe_port    = 8080
}

resource "google_cloud_run_v2_worker_pool" "this" {
  for_each = var.scaled_from_outside ? {} : local.pools

  project             = var.project
  location            = var.region
  name                = each.key
  labels              = local.labels
  deletion_protection = false # it keeps nothing

  scaling {
    scaling_mode          = local.scales_by_cpu ? "AUTOMATIC" : "MANUAL"
    manual_instance_count = local.scales_by_cpu ? null : var.workers
    min_instance_count    = local.scales_by_cpu ? var.workers : null
    max_instance_count    = local.scales_by_cpu ? var.max_workers : null
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
}
