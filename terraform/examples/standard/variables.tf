variable "image" {
  description = "The image, NAME@sha256:DIGEST."
  type        = string
  default     = null
}

variable "image_upstream" {
  description = "A registry that already has the image; null: you push it."
  type        = string
  default     = null
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "provider_keys" {
  description = "The keys, by the providers' names: TF_VAR_provider_keys='{\"sendgrid\":{\"api_key\":\"…\"},…}'"
  type = map(object({
    api_key     = string
    webhook_key = optional(string)
  }))
  default   = {}
  ephemeral = true
  sensitive = true
}

variable "region" {
  description = "Region of the cluster."
  type        = string
  default     = "europe-west1"
}
