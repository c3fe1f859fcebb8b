# What everything that runs is told: the settings of postman/config/settings.py.
locals {
  settings = merge(var.settings, {
    POSTMAN_ACK_DEADLINE = tostring(var.ack_deadline)
    POSTMAN_LEDGER       = "firestore:${local.database}"
    POSTMAN_LOG_LEVEL    = var.log_level
    POSTMAN_PREFIX       = var.prefix
    POSTMAN_PROJECT      = var.project
    POSTMAN_QUEUE        = "pubsub:"
    POSTMAN_SHARDS       = tostring(var.shards)
  })

  provider_settings = {
    POSTMAN_PROVIDERS      = "firestore:${local.database}"
    POSTMAN_PROVIDERS_SEED = jsonencode(local.providers_document)
  }

  own_settings = [
    "POSTMAN_ACK_DEADLINE",
    "POSTMAN_CONSOLE_AUDIENCE",
    "POSTMAN_CONSOLE_IDENTITY",
    "POSTMAN_CONSOLE_OPERATORS",
    "POSTMAN_LEDGER",
    "POSTMAN_LOG_LEVEL",
    "POSTMAN_ONLY_SHARDS",
    "POSTMAN_PREFIX",
    "POSTMAN_PROBE_PORT",
    "POSTMAN_PROJECT",
    "POSTMAN_PROVIDERS",
    "POSTMAN_PROVIDERS_SEED",
    "POSTMAN_PUSH_ACCOUNT",
    "POSTMAN_PUSH_AUDIENCE",
    "POSTMAN_QUEUE",
    "POSTMAN_SHARDS",
  ]
}
