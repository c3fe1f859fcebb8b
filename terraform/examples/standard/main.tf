# A cluster with two providers: SendGrid, and Mailgun for when it is down. Copy this folder, and name a released version of the
# module as its source: "git::https://…/postman.git//terraform?ref=v1.0.0".
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.18, < 9.0"
    }
  }

  # The state holds no key, but it says all about the cluster: keep it where few can read it.
  # backend "gcs" {
  #   bucket = "acme-terraform"
  #   prefix = "postman"
  # }
}

module "postman" {
  source = "../.."

  project = var.project
  region  = var.region

  image          = var.image
  image_upstream = var.image_upstream

  # Who starts with which provider. Afterwards: postman providers list|add|enable|disable|weight|remove.
  mail_providers = {
    mailgun = {
      kind   = "mailgun"
      domain = "mg.example.org"
      weight = 0 # only when SendGrid fails
    }
    sendgrid = {
      kind = "sendgrid"
    }
  }
  provider_keys = var.provider_keys

  publishers = ["serviceAccount:shop@${var.project}.iam.gserviceaccount.com"]
  operators  = ["group:mail-operators@example.org"]

  alert_emails = ["mail-night@example.org"]
}
