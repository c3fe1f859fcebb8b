data "google_project" "this" {
  project_id = var.project
}

locals {
  labels = merge(var.labels, { application = "postman", cluster = var.prefix })

  apis = setunion(var.console_iap ? ["iap.googleapis.com"] : [], [
    "artifactregistry.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
  ])
}

resource "google_project_service" "this" {
  for_each = local.apis

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
