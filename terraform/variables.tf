variable "ack_deadline" {
  description = "Seconds after which the mails of a worker that died come back. With push, also the longest that a request may take."
  type        = number
  default     = 30

  validation {
    condition     = var.ack_deadline >= 10 && var.ack_deadline <= 600 && floor(var.ack_deadline) == var.ack_deadline
    error_message = "ack_deadline must be a whole number of seconds from 10 to 600."
  }
}

variable "alert_emails" {
  description = "Addresses that are told when an alert opens."
  type        = set(string)
  default     = []
}

variable "alert_when" {
  description = "Where alerts begin: seconds that the oldest mail may wait (late_after), mails in doubt within ten minutes (doubts), posts of events with a wrong signature within an hour (forged_posts)."
  type = object({
    doubts       = optional(number, 5)
    forged_posts = optional(number, 20)
    late_after   = optional(number, 600)
  })
  default = {}
}

variable "callers" {
  description = "Who may post mails over HTTP: IAM members, as serviceAccount:shop@project.iam.gserviceaccount.com. Ignored where ingress is false."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setintersection(var.callers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "callers may not be everybody: whoever gets in can send any mail in your name."
  }
}

variable "console" {
  description = "Whether there is a service that shows the cluster to its operators in a browser, and acts for them."
  type        = bool
  default     = false
}

variable "console_from_internet" {
  description = "Whether the console can be reached from outside of the project's networks, by who may: also with `gcloud run services proxy`."
  type        = bool
  default     = false
}

variable "console_iap" {
  description = "Whether Identity-Aware Proxy asks who somebody is, with Google's own login page. Who may pass it is then set there, as docs/terraform.md has it, and console_users is ignored."
  type        = bool
  default     = false
}

variable "console_operators" {
  description = "Who of those that get to the console may act there, and see addresses: e-mail addresses, or domains. Empty: all of them."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.console_operators : can(regex("^([^@,[:space:]:]+@)?[a-z0-9-]+(\\.[a-z0-9-]+)+$", each))])
    error_message = "console_operators must be addresses, as ana@example.org, or domains, as example.org: no IAM members."
  }
}

variable "console_users" {
  description = "People or groups (IAM members) who may open the console: they need roles/run.invoker. Ignored where console is false."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setintersection(var.console_users, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "console_users may not be everybody: whoever gets in sees what was sent to whom, and can stop it."
  }
}

variable "firestore_location" {
  description = "Where the ledger is: a region, or a multi-region as eur3 or nam5. Null: the region. It can never be changed."
  type        = string
  default     = null
}

variable "image" {
  description = "The image within the registry, by its digest: NAME@sha256:DIGEST. Null: nothing runs yet, all else is made, so that the first image can be pushed."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9][a-z0-9._/-]*@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be NAME@sha256:DIGEST; a tag can mean another image tomorrow."
  }
}

variable "image_upstream" {
  description = "A registry that already has the image, as https://ghcr.io: the repository then pulls through from there, and one apply starts everything. Null: you push into the repository."
  type        = string
  default     = null

  validation {
    condition     = var.image_upstream == null || can(regex("^https://[^/]+", var.image_upstream))
    error_message = "image_upstream must be an https address."
  }
}

variable "ingress" {
  description = "Whether there is a service that takes mails over HTTP from callers."
  type        = bool
  default     = true
}

variable "ingress_from_internet" {
  description = "Whether callers may come from outside of the project's networks. They need roles/run.invoker in any case."
  type        = bool
  default     = false
}

variable "labels" {
  description = "Labels for everything that takes labels."
  type        = map(string)
  default     = {}
}

variable "layout_readers" {
  description = "Publishers (IAM members) that follow `postman reshard` by themselves. They can read the whole ledger: Firestore has no roles for one document."
  type        = set(string)
  default     = []
}

variable "log_level" {
  description = "From which level on postman logs. With warning the charts of what was sent, failed over and recovered stay empty; no alert needs them."
  type        = string
  default     = "info"

  validation {
    condition     = contains(["debug", "info", "warning"], var.log_level)
    error_message = "log_level must be debug, info or warning."
  }
}

variable "mail_providers" {
  description = <<-TEXT
    The providers with which the cluster STARTS, by name. This is a seed: it is put into the store once, by whoever starts first,
    and from then on `postman providers` changes what counts, without a deployment. Later changes of kind, weight, enabled and so
    on here change nothing in a cluster that runs. Secrets and rights do follow this map: name here also what you add live.

    key_version: raise it to write the keys of provider_keys anew; 0: Terraform writes none, you do (gcloud secrets versions add).
    events: whether it posts its events here; it then needs a webhook_key.
  TEXT
  type = map(object({
    base_url      = optional(string)
    concurrency   = optional(number)
    domain        = optional(string)
    enabled       = optional(bool, true)
    events        = optional(bool, false)
    key_version   = optional(number, 1)
    kind          = string
    look_up_after = optional(number)
    rate          = optional(number)
    timeout       = optional(number)
    weight        = optional(number, 1)
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.mail_providers) : can(regex("^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$", name))])
    error_message = "A provider's name must have letters, digits, - and _ only, at most 63, and begin with a letter or a digit."
  }

  validation {
    condition     = length(var.mail_providers) == 0 || anytrue([for each in values(var.mail_providers) : each.enabled])
    error_message = "At least one provider must be enabled."
  }

  validation {
    condition     = alltrue([for each in values(var.mail_providers) : each.kind != "mailgun" || each.domain != null])
    error_message = "A provider of the kind mailgun needs its domain."
  }

  validation {
    condition     = alltrue([for each in values(var.mail_providers) : each.key_version >= 0 && floor(each.key_version) == each.key_version])
    error_message = "key_version must be a whole number, 0 or more."
  }

  validation {
    condition     = alltrue([for each in values(var.mail_providers) : each.base_url == null || startswith(coalesce(each.base_url, "-"), "https://")])
    error_message = "base_url must be an https address."
  }

  validation {
    condition     = alltrue([for each in values(var.mail_providers) : coalesce(each.timeout, 10) * 2 + 6 <= var.ack_deadline || !var.push])
    error_message = "With push a mail must be finished within ack_deadline: twice a provider's timeout and six seconds."
  }
}

variable "max_service_instances" {
  description = "How many instances each Cloud Run service may have at the most."
  type        = number
  default     = 10

  validation {
    condition     = var.max_service_instances >= 1
    error_message = "max_service_instances must be 1 or more."
  }
}

variable "max_workers" {
  description = "How many instances a worker pool may have at the most. More than workers: Cloud Run scales between the two by CPU. 0: no scaling."
  type        = number
  default     = 0

  validation {
    condition     = var.max_workers >= 0 && var.max_workers <= 100 && floor(var.max_workers) == var.max_workers
    error_message = "max_workers must be a whole number from 0 to 100."
  }

  validation {
    condition     = !(var.max_workers > var.workers && var.scaled_from_outside)
    error_message = "Either Cloud Run scales (max_workers) or somebody outside does (scaled_from_outside), not both."
  }
}

variable "notification_channels" {
  description = "Notification channels that exist already, by their full names, for all alerts."
  type        = set(string)
  default     = []
}

variable "operators" {
  description = "People or groups (IAM members) who run `postman status`, `dead`, `providers`, `shards` and `reshard` for this cluster."
  type        = set(string)
  default     = []
}

variable "pool_per_shard" {
  description = "One worker pool for each shard instead of one that opens all: shards then cannot touch each other, at the price of an idle pool for each."
  type        = bool
  default     = false
}

variable "prefix" {
  description = "Begins every name. Another one makes another cluster: it cannot be changed."
  type        = string
  default     = "postman"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.prefix)) && !startswith(var.prefix, "goog")
    error_message = "prefix must have 2 to 20 lower-case letters, digits and hyphens, begin with a letter, not with goog, and not end in a hyphen."
  }
}

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be the id of a Google Cloud project, not its name or number."
  }
}

variable "protect" {
  description = "Whether the ledger is kept safe: `terraform destroy` then leaves the database where it is. False only for a cluster whose mails nobody will miss."
  type        = bool
  default     = true
}

variable "provider_keys" {
  description = "The keys of mail_providers, by the same names. Handed on to Secret Manager; neither plan nor state holds them. Needed at each apply for those whose key_version is above 0."
  type = map(object({
    api_key     = string
    webhook_key = optional(string)
  }))
  default   = {}
  ephemeral = true
  sensitive = true

  validation {
    condition     = alltrue([for name, each in var.mail_providers : try(length(var.provider_keys[name].api_key) > 0, false) if each.key_version > 0])
    error_message = "provider_keys must have an api_key for each of mail_providers whose key_version is above 0."
  }

  validation {
    condition     = alltrue([for name, each in var.mail_providers : try(length(var.provider_keys[name].webhook_key) > 0, false) if each.events && each.key_version > 0])
    error_message = "provider_keys must have a webhook_key for each of mail_providers with events whose key_version is above 0."
  }
}

variable "publishers" {
  description = "Services (IAM members) that publish mails into the shards' topics by themselves."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setintersection(var.publishers, ["allUsers", "allAuthenticatedUsers"])) == 0
    error_message = "publishers may not be everybody: whoever publishes can send any mail in your name."
  }
}

variable "push" {
  description = "Whether Pub/Sub pushes mails to a service that scales to zero, instead of worker pools that pull. For small senders: no batches, and no worker reports."
  type        = bool
  default     = false
}

variable "queues" {
  description = "How many shards have topics and subscriptions. Null: as many as shards. More than shards only while `postman reshard` grows or has shrunk the cluster."
  type        = number
  default     = null

  validation {
    condition     = var.queues == null || coalesce(var.queues, 1) >= var.shards
    error_message = "queues must be null, or at least shards."
  }

  validation {
    condition     = var.queues == null || coalesce(var.queues, 1) <= 1024
    error_message = "queues must be at most 1024."
  }
}

variable "region" {
  description = "Region of everything but, where you say so, the ledger."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region, as europe-west1."
  }
}

variable "registry" {
  description = "Path of a registry that is there already, as europe-docker.pkg.dev/images/mail; no repository is made then. Null: the module's own repository."
  type        = string
  default     = null

  validation {
    condition     = var.registry == null || var.image_upstream == null
    error_message = "image_upstream is of the module's own repository, and registry says that there is none."
  }
}

variable "scaled_from_outside" {
  description = "Whether somebody else, as CREMA, sets the number of workers; Terraform then sets it once and leaves it alone. Changing this makes the pools anew."
  type        = bool
  default     = false
}

variable "settings" {
  description = "More settings for everything that runs, as POSTMAN_CONCURRENCY. What has a variable of its own, or is the module's, cannot be set here."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^POSTMAN_[A-Z_]+$", name))])
    error_message = "settings must be named POSTMAN_…."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), local.own_settings)) == 0
    error_message = "settings: ${join(", ", setintersection(keys(var.settings), local.own_settings))} cannot be set here."
  }
}

variable "shards" {
  description = "POSTMAN_SHARDS: how many shards there are until `postman reshard` says otherwise. To change it in a cluster that runs, see README.md: Growing."
  type        = number
  default     = 8

  validation {
    condition     = var.shards >= 1 && var.shards <= 1024 && floor(var.shards) == var.shards
    error_message = "shards must be a whole number from 1 to 1024."
  }
}

variable "storage_regions" {
  description = "Regions in which Pub/Sub may keep mails. Empty: the region only."
  type        = set(string)
  default     = []
}

variable "worker_limits" {
  description = "CPU and memory of a worker. Without memory: what POSTMAN_MEMORY and the number of shards need; above 4Gi Cloud Run wants more than one CPU."
  type = object({
    cpu    = optional(string, "1")
    memory = optional(string)
  })
  default = {}
}

variable "workers" {
  description = "How many instances a worker pool has; the fewest, where it scales. Ignored with push."
  type        = number
  default     = 2

  validation {
    condition     = var.workers >= 0 && var.workers <= 100 && floor(var.workers) == var.workers
    error_message = "workers must be a whole number from 0 to 100."
  }
}
