# A cluster whose workers are counted by the backlog: CREMA, Google's autoscaler for Cloud Run by KEDA's triggers, reads Pub/Sub's
# metrics and sets the number of workers. See docs/terraform.md for when that is worth it.
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.18, < 9.0"
    }
  }
}

module "postman" {
  source = "../.."

  project = var.project
  region  = var.region
  image   = var.image
  shards  = var.shards

  workers             = var.fewest_workers
  scaled_from_outside = true

  mail_providers = {
    sendgrid = { kind = "sendgrid" }
  }
  provider_keys = var.provider_keys
}
