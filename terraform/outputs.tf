output "alerts" {
  description = "The alerts' names, with their severity and the beginning of a remedy; docs/runbook.md has each."
  value       = { for name, alert in local.alerts : name => { severity = alert.severity, says = alert.says } }
}

output "console_url" {
  description = "Where the console is; null without it or an image. Without Identity-Aware Proxy a browser gets there by `gcloud run services proxy`."
  value       = try(google_cloud_run_v2_service.this["console"].uri, null)
}

output "database" {
  description = "The Firestore database of the ledger."
  value       = google_firestore_database.this.name
}

output "dead_letter_subscriptions" {
  description = "Where the dead letters of each shard lie."
  value       = { for shard, subscription in google_pubsub_subscription.dead : shard => subscription.name }
}

output "event_urls" {
  description = "Where each provider shall post its events; known before the service is there, so that a webhook can be set up first."
  value       = { for name in keys(var.mail_providers) : name => "https://${var.prefix}-events-${data.google_project.this.number}.${var.region}.run.app/v1/events/${name}" }
}

output "image" {
  description = "The image that runs; null while none does."
  value       = local.image
}

output "ingress_url" {
  description = "Where callers post mails, with an identity token for this audience; null without ingress or image."
  value       = try(google_cloud_run_v2_service.this["ingress"].uri, null)
}

output "operator_environment" {
  description = "What to export before `postman status`, `dead`, `providers`, `shards`, `reshard`."
  value       = merge(local.settings, { POSTMAN_PROVIDERS = local.provider_settings.POSTMAN_PROVIDERS })
}

output "project" {
  description = "The project of everything."
  value       = var.project
}

output "publisher_environment" {
  description = "What to export for a publisher in Python. Without leave to read the ledger (layout_readers) leave POSTMAN_LEDGER out."
  value       = { for name in ["POSTMAN_LEDGER", "POSTMAN_PREFIX", "POSTMAN_PROJECT", "POSTMAN_QUEUE", "POSTMAN_SHARDS"] : name => local.settings[name] }
}

output "registry" {
  description = "Where the image is pushed to, or pulled through."
  value       = local.registry
}

output "secrets" {
  description = "Secret Manager's names of the providers' keys: new versions go there."
  value       = { for key, secret in google_secret_manager_secret.key : key => secret.secret_id }
}

output "service_accounts" {
  description = "Who runs what."
  value       = { for name, account in google_service_account.this : name => account.email }
}

output "shards" {
  description = "Into how many shards publishers hash. The topic of shard i is in topics."
  value       = var.shards
}

output "subscriptions" {
  description = "The subscription of each shard."
  value       = { for shard, subscription in google_pubsub_subscription.shard : shard => subscription.name }
}

output "topics" {
  description = "The topic of each shard: where publishers publish."
  value       = { for shard, topic in google_pubsub_topic.shard : shard => topic.name }
}

output "worker_pools" {
  description = "The worker pools that run."
  value       = sort(concat([for pool in google_cloud_run_v2_worker_pool.this : pool.name], [for pool in google_cloud_run_v2_worker_pool.scaled_from_outside : pool.name]))
}
