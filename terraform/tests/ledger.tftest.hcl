# The database of the ledger: kept safe, named, with as few indexes as queries need.
mock_provider "google" {}

variables {
  project = "acme-mail"
  region  = "europe-west1"
  shards  = 1
}

run "kept_safe" {
  command = plan

  assert {
    condition = alltrue([
      google_firestore_database.this.name == "postman-ledger",
      google_firestore_database.this.type == "FIRESTORE_NATIVE",
      google_firestore_database.this.delete_protection_state == "DELETE_PROTECTION_ENABLED",
      google_firestore_database.this.deletion_policy == "ABANDON",
      google_firestore_database.this.point_in_time_recovery_enablement == "POINT_IN_TIME_RECOVERY_ENABLED",
    ])
    error_message = "The ledger must be a named database in native mode that nothing deletes."
  }

  assert {
    condition     = sort([for each in google_firestore_field.expires : each.collection]) == tolist(["postman-mails", "postman-suppressions", "postman-workers"]) && alltrue([for each in google_firestore_field.expires : each.field == "expire_at" && length(each.ttl_config) == 1 && length(each.index_config[0].indexes) == 0])
    error_message = "Mails, suppressions and reports must expire, without an index on the time."
  }

  assert {
    condition     = alltrue([for each in google_firestore_field.unindexed : each.field == "*" && length(each.index_config[0].indexes) == 0]) && sort([for each in google_firestore_field.ordered : "${each.collection}/${each.field}"]) == tolist(["postman-suppressions/changed_at", "postman-workers/at"])
    error_message = "Only what queries need may have an index."
  }

  assert {
    condition = alltrue([
      google_firestore_field.message_id.index_config[0].indexes[*].order == tolist(["ASCENDING"]),
      google_firestore_field.recipients.index_config[0].indexes[*].array_config == tolist(["CONTAINS"]),
      google_firestore_index.shelf.fields[*].field_path == tolist(["shelf", "since"]),
      google_firestore_index.shelf.fields[*].order == tolist(["ASCENDING", "DESCENDING"]),
    ])
    error_message = "Operators must find mails by the provider's id, by a recipient, and by the shelf on which they wait."
  }

  assert {
    condition     = alltrue([for each in concat(values(google_project_iam_member.uses_ledger), values(google_project_iam_member.reads_ledger)) : each.condition[0].expression == "resource.name == \"projects/acme-mail/databases/postman-ledger\""])
    error_message = "Roles on the project must be for this database only."
  }
}

run "thrown_away" {
  command = plan

  variables {
    protect            = false
    firestore_location = "eur3"
  }

  assert {
    condition     = google_firestore_database.this.delete_protection_state == "DELETE_PROTECTION_DISABLED" && google_firestore_database.this.deletion_policy == "DELETE" && google_firestore_database.this.location_id == "eur3"
    error_message = "A cluster that nobody will miss must be deletable, and the ledger where it was wanted."
  }
}
