# The image. Pushed into this repository, or pulled through it from a registry that has it already.
locals {
  registry = coalesce(var.registry, "${var.region}-docker.pkg.dev/${var.project}/${var.prefix}")
  image    = var.image == null ? null : "${local.registry}/${var.image}"

  runs     = var.image != null
  delivers = local.runs && length(var.mail_providers) > 0
}

resource "google_artifact_registry_repository" "this" {
  for_each = var.registry == null ? { image = var.image_upstream } : {}

  project       = var.project
  location      = var.region
  repository_id = var.prefix
  description   = "The image of postman"
  format        = "DOCKER"
  mode          = each.value == null ? "STANDARD_REPOSITORY" : "REMOTE_REPOSITORY"
  labels        = local.labels

  dynamic "docker_config" {
    for_each = each.value == null ? [1] : []

    content {
      immutable_tags = true
    }
  }

  dynamic "remote_repository_config" {
    for_each = each.value == null ? [] : [each.value]

    content {
      description = "Pulls through from ${remote_repository_config.value}"

      docker_repository {
        custom_repository {
          uri = remote_repository_config.value
        }
      }
    }
  }

  depends_on = [google_project_service.this]
}
