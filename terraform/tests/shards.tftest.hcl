# A shard is a topic, a subscription and their dead letters, whatever their number.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project = "acme-mail"
  region  = "europe-west1"
  shards  = 1
}

run "one" {
  command = plan

  assert {
    condition     = keys(output.topics) == ["0"] && output.topics["0"] == "postman-mail-0" && output.subscriptions["0"] == "postman-mail-0"
    error_message = "One shard must have one topic and one subscription, both postman-mail-0."
  }

  assert {
    condition     = google_pubsub_topic.dead["0"].name == "postman-mail-0-dead" && output.dead_letter_subscriptions["0"] == "postman-mail-0-dead"
    error_message = "Its dead letters must have a topic and a subscription, both postman-mail-0-dead."
  }
}

run "eight" {
  command = plan

  variables {
    shards     = 8
    publishers = ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"]
  }

  assert {
    condition = alltrue([
      length(google_pubsub_topic.shard) == 8,
      length(google_pubsub_topic.dead) == 8,
      length(google_pubsub_subscription.shard) == 8,
      length(google_pubsub_subscription.dead) == 8,
      length(google_pubsub_topic_iam_member.agent_forwards) == 8,
      length(google_pubsub_subscription_iam_member.agent_forwards) == 8,
    ])
    error_message = "Each of eight shards must have two topics, two subscriptions, and Pub/Sub's leave to forward."
  }

  assert {
    condition     = alltrue([for each in concat(values(google_pubsub_subscription.shard), values(google_pubsub_subscription.dead)) : each.expiration_policy[0].ttl == ""])
    error_message = "No subscription may expire."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_subscription.dead : each.message_retention_duration == "2678400s"])
    error_message = "Dead letters must be kept for 31 days."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_subscription.shard : each.enable_exactly_once_delivery != true && length(each.push_config) == 0 && length(each.retry_policy) == 0])
    error_message = "Workers pull, and say themselves when a mail comes back; the ledger knows what was sent."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_topic_iam_member.agent_forwards : each.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" && each.role == "roles/pubsub.publisher"])
    error_message = "Pub/Sub's own account must be allowed to publish dead letters."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_topic.shard : each.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1"])])
    error_message = "Mails must stay in the region."
  }

  assert {
    condition     = google_pubsub_topic_iam_member.publishes["7/serviceAccount:shop@acme-shop.iam.gserviceaccount.com"].topic == "postman-mail-7"
    error_message = "A publisher must be allowed to publish into each shard."
  }

  assert {
    condition     = length([for key in keys(google_pubsub_topic_iam_member.dead_letters) : key if endswith(key, "acme-shop.iam.gserviceaccount.com")]) == 0
    error_message = "A publisher has no business with dead letters."
  }
}

run "sixty_four" {
  command = plan

  variables {
    shards = 64
  }

  assert {
    condition     = length(output.topics) == 64 && output.topics["63"] == "postman-mail-63" && length(google_pubsub_subscription_iam_member.pulls) == 64
    error_message = "There must be 64 shards, from 0 to 63, and a worker that may pull each."
  }
}

run "growing" {
  command = plan

  variables {
    queues = 3
  }

  assert {
    condition     = length(output.topics) == 3 && output.shards == 1 && output.publisher_environment["POSTMAN_SHARDS"] == "1"
    error_message = "More queues than shards must leave POSTMAN_SHARDS alone."
  }
}

run "fewer_queues_than_shards" {
  command = plan

  variables {
    shards = 2
    queues = 1
  }

  expect_failures = [var.queues]
}

run "wrong_names_and_times" {
  command = plan

  variables {
    ack_deadline = 5
    prefix       = "a-prefix-of-21-digits"
    project      = "123456789012"
    publishers   = ["allUsers"]
    region       = "Europe"
    shards       = 0
  }

  expect_failures = [var.ack_deadline, var.prefix, var.project, var.publishers, var.region, var.shards]
}
