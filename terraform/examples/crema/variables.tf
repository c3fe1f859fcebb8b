variable "crema_image" {
  description = "CREMA's image. Those from before 2026-04-29 leak memory."
  type        = string
  default     = "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.2"
}

variable "fewest_workers" {
  description = "Workers that are always there. 0 is possible: the first mail then waits for the metric, two minutes and more."
  type        = number
  default     = 1
}

variable "image" {
  description = "postman's image, NAME@sha256:DIGEST."
  type        = string
}

variable "mails_per_worker" {
  description = "How many mails may wait for each worker before there is one more."
  type        = number
  default     = 2000
}

variable "most_workers" {
  description = "Workers at the most. More than your providers' rate limits can feed only wait."
  type        = number
  default     = 20
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "provider_keys" {
  description = "The keys, by the providers' names."
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
}

variable "shards" {
  description = "How many shards there are."
  type        = number
  default     = 8
}
