# The ledger, and what lies beside it: reports of workers, the suppression list, the layout of the shards, the providers' document.
# Every field that no query needs is exempt from indexes: an index on a time that only grows caps a collection at 500 writes a second.
# Names are the code's: postman/adapters/firestore.
locals {
  database = "${var.prefix}-ledger"

  collections = {
    config       = { ordered_by = [], expires = false }
    layout       = { ordered_by = [], expires = false }
    mails        = { ordered_by = [], expires = true }
    suppressions = { ordered_by = ["changed_at"], expires = true }
    workers      = { ordered_by = ["at"], expires = true }
  }

  ordered_fields = merge([for name, each in local.collections : { for field in each.ordered_by : "${name}/${field}" => { collection = name, field = field } }]...)

  ledger_users   = merge(local.senders, local.hears_events ? { events = google_service_account.this["events"].member } : {}, local.operators, local.consoles)
  ledger_readers = merge(var.ingress ? { ingress = google_service_account.this["ingress"].member } : {}, { for each in var.layout_readers : each => each })
}

resource "google_firestore_database" "this" {
  project     = var.project
  name        = local.database
  location_id = coalesce(var.firestore_location, var.region)
  type        = "FIRESTORE_NATIVE"

  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"

  # ABANDON: destroy forgets the database and leaves it where it is, and Google deletes it for nobody. Without protect, both give way.
  delete_protection_state = var.protect ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = var.protect ? "ABANDON" : "DELETE"

  depends_on = [google_project_service.this]
}

resource "google_firestore_field" "unindexed" {
  for_each = local.collections

  project    = var.project
  database   = google_firestore_database.this.name
  collection = "${var.prefix}-${each.key}"
  field      = "*"

  index_config {}
}

resource "google_firestore_field" "expires" {
  for_each = { for name, each in local.collections : name => each if each.expires }

  project    = var.project
  database   = google_firestore_database.this.name
  collection = "${var.prefix}-${each.key}"
  field      = "expire_at"

  index_config {}
  ttl_config {}
}

resource "google_firestore_field" "ordered" {
  for_each = local.ordered_fields

  project    = var.project
  database   = google_firestore_database.this.name
  collection = "${var.prefix}-${each.value.collection}"
  field      = each.value.field

  index_config {
    indexes {
      order       = "ASCENDING"
      query_scope = "COLLECTION"
    }
  }
}

# By these an operator finds mails. Their values are random, so that writes spread over the index.
resource "google_firestore_field" "message_id" {
  project    = var.project
  database   = google_firestore_database.this.name
  collection = "${var.prefix}-mails"
  field      = "message_id"

  index_config {
    indexes {
      order       = "ASCENDING"
      query_scope = "COLLECTION"
    }
  }
}

resource "google_firestore_field" "recipients" {
  project    = var.project
  database   = google_firestore_database.this.name
  collection = "${var.prefix}-mails"
  field      = "recipients"

  index_config {
    indexes {
      array_config = "CONTAINS"
      query_scope  = "COLLECTION"
    }
  }
}

# Mails in doubt and dead letters, newest first: only they have the field `shelf`.
resource "google_firestore_index" "shelf" {
  project     = var.project
  database    = google_firestore_database.this.name
  collection  = "${var.prefix}-mails"
  query_scope = "COLLECTION"

  fields {
    field_path = "shelf"
    order      = "ASCENDING"
  }

  fields {
    field_path = "since"
    order      = "DESCENDING"
  }
}

resource "google_project_iam_member" "uses_ledger" {
  for_each = local.ledger_users

  project = var.project
  role    = "roles/datastore.user"
  member  = each.value

  condition {
    title      = "${var.prefix}-ledger-only"
    expression = "resource.name == \"projects/${var.project}/databases/${local.database}\""
  }

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "reads_ledger" {
  for_each = local.ledger_readers

  project = var.project
  role    = "roles/datastore.viewer"
  member  = each.value

  condition {
    title      = "${var.prefix}-ledger-only"
    expression = "resource.name == \"projects/${var.project}/databases/${local.database}\""
  }

  depends_on = [google_project_service.this]
}
