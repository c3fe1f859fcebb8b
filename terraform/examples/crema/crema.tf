locals {
  # KEDA takes the largest of its triggers' answers, and each shard holds its part of the backlog.
  mails_per_worker_and_shard = ceil(var.mails_per_worker / var.shards)

  configuration = yamlencode({
    apiVersion = "crema/v1"
    kind       = "CremaConfig"
    spec = {
      pollingInterval = 30
      triggerAuthentications = [{
        metadata = { name = "own-account" }
        spec     = { podIdentity = { provider = "gcp" } }
      }]
      scaledObjects = [for pool in module.postman.worker_pools : {
        spec = {
          scaleTargetRef  = { name = "projects/${var.project}/locations/${var.region}/workerpools/${pool}" }
          minReplicaCount = var.fewest_workers
          maxReplicaCount = var.most_workers
          triggers = [for shard, subscription in module.postman.subscriptions : {
            type = "gcp-pubsub"
            name = "shard-${shard}"
            metadata = {
              subscriptionName = "projects/${var.project}/subscriptions/${subscription}"
              mode             = "SubscriptionSize"
              value            = tostring(local.mails_per_worker_and_shard)
            }
            authenticationRef = { name = "own-account" }
          }]
          advanced = {
            horizontalPodAutoscalerConfig = {
              behavior = {
                scaleUp   = { stabilizationWindowSeconds = 0, policies = [{ type = "Percent", value = 100, periodSeconds = 60 }] }
                scaleDown = { stabilizationWindowSeconds = 300, policies = [{ type = "Pods", value = 1, periodSeconds = 60 }] }
              }
            }
          }
        }
      }]
    }
  })

  version = "v-${substr(sha256(local.configuration), 0, 12)}"
}

resource "google_project_service" "parametermanager" {
  project            = var.project
  service            = "parametermanager.googleapis.com"
  disable_on_destroy = false
}

resource "google_parameter_manager_parameter" "crema" {
  project      = var.project
  parameter_id = "postman-crema"
  format       = "YAML"

  depends_on = [google_project_service.parametermanager]
}

# A changed configuration is another version, which makes another revision of the service.
resource "google_parameter_manager_parameter_version" "crema" {
  parameter            = google_parameter_manager_parameter.crema.id
  parameter_version_id = local.version
  parameter_data       = local.configuration

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_service_account" "crema" {
  project      = var.project
  account_id   = "postman-crema"
  display_name = "postman: counts the workers"
}

resource "google_project_iam_member" "reads_configuration" {
  project = var.project
  role    = "roles/parametermanager.parameterViewer"
  member  = google_service_account.crema.member
}

resource "google_project_iam_member" "reads_metrics" {
  project = var.project
  role    = "roles/monitoring.viewer"
  member  = google_service_account.crema.member
}

resource "google_cloud_run_v2_worker_pool_iam_member" "sets_number" {
  for_each = toset(module.postman.worker_pools)

  project  = var.project
  location = var.region
  name     = each.value
  role     = "roles/run.developer"
  member   = google_service_account.crema.member
}

# Whoever changes a pool acts as the account that it runs as.
resource "google_service_account_iam_member" "acts_as_worker" {
  service_account_id = "projects/${var.project}/serviceAccounts/${module.postman.service_accounts["worker"]}"
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.crema.member
}

# Exactly one: two of them would pull at the same number.
resource "google_cloud_run_v2_service" "crema" {
  project             = var.project
  location            = var.region
  name                = "postman-crema"
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = false

  template {
    service_account = google_service_account.crema.email

    scaling {
      min_instance_count = 1
      max_instance_count = 1
    }

    containers {
      image          = var.crema_image
      base_image_uri = "us-central1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25"

      resources {
        limits   = { cpu = "1", memory = "512Mi" }
        cpu_idle = false # it polls by itself
      }

      env {
        name  = "CREMA_CONFIG"
        value = "projects/${var.project}/locations/global/parameters/${google_parameter_manager_parameter.crema.parameter_id}/versions/${google_parameter_manager_parameter_version.crema.parameter_version_id}"
      }
    }
  }

  depends_on = [
    google_cloud_run_v2_worker_pool_iam_member.sets_number,
    google_project_iam_member.reads_configuration,
    google_project_iam_member.reads_metrics,
    google_service_account_iam_member.acts_as_worker,
  ]
}
