# What runs, how many of it, and who may call it.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project        = "acme-mail"
  region         = "europe-west1"
  shards         = 2
  image          = "postman@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  mail_providers = { sendgrid = { kind = "sendgrid", key_version = 0 } }
}

run "two_workers" {
  command = plan

  variables {
    callers = ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"]
  }

  assert {
    condition     = output.worker_pools == tolist(["postman-worker"]) && google_cloud_run_v2_worker_pool.this["postman-worker"].scaling[0].scaling_mode == "MANUAL" && google_cloud_run_v2_worker_pool.this["postman-worker"].scaling[0].manual_instance_count == 2
    error_message = "There must be one pool for all shards, with two workers."
  }

  assert {
    condition     = one(google_cloud_run_v2_worker_pool.this["postman-worker"].template[0].containers).image == "europe-west1-docker.pkg.dev/acme-mail/postman/postman@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    error_message = "The image must come from the repository, by its digest."
  }

  assert {
    condition     = one(one(google_cloud_run_v2_worker_pool.this["postman-worker"].template[0].containers).liveness_probe).http_get[0].path == "/live" && length([for each in one(google_cloud_run_v2_worker_pool.this["postman-worker"].template[0].containers).env : each if each.name == "POSTMAN_ONLY_SHARDS"]) == 0
    error_message = "A worker must be probed, and open all shards."
  }

  assert {
    condition     = one(google_cloud_run_v2_worker_pool.this["postman-worker"].template[0].containers).resources[0].limits == tomap({ cpu = "1", memory = "1024Mi" })
    error_message = "A worker for two shards must have a gibibyte."
  }

  assert {
    condition     = google_cloud_run_v2_service.this["ingress"].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && keys(google_cloud_run_v2_service_iam_member.calls) == ["serviceAccount:shop@acme-shop.iam.gserviceaccount.com"]
    error_message = "Mails over HTTP must come from inside, and from callers only."
  }
}

run "no_image_yet" {
  command = plan

  variables {
    image = null
  }

  assert {
    condition     = length(output.worker_pools) == 0 && length(google_cloud_run_v2_service.this) == 0 && output.registry == "europe-west1-docker.pkg.dev/acme-mail/postman"
    error_message = "Without an image nothing may run, and the repository must be there."
  }
}

run "scaled_by_processor_and_by_shard" {
  command = plan

  variables {
    max_workers    = 6
    pool_per_shard = true
    image_upstream = "https://ghcr.io"
  }

  assert {
    condition     = output.worker_pools == tolist(["postman-worker-0", "postman-worker-1"]) && one([for each in one(google_cloud_run_v2_worker_pool.this["postman-worker-1"].template[0].containers).env : each.value if each.name == "POSTMAN_ONLY_SHARDS"]) == "1"
    error_message = "Each shard must have a pool that opens it alone."
  }

  assert {
    condition     = google_cloud_run_v2_worker_pool.this["postman-worker-0"].scaling[0].scaling_mode == "AUTOMATIC" && google_cloud_run_v2_worker_pool.this["postman-worker-0"].scaling[0].min_instance_count == 2 && google_cloud_run_v2_worker_pool.this["postman-worker-0"].scaling[0].max_instance_count == 6
    error_message = "A pool must scale between workers and max_workers."
  }

  assert {
    condition     = google_artifact_registry_repository.this["image"].mode == "REMOTE_REPOSITORY" && google_artifact_registry_repository.this["image"].remote_repository_config[0].docker_repository[0].custom_repository[0].uri == "https://ghcr.io"
    error_message = "The repository must pull through from the registry that has the image."
  }
}

run "pushed" {
  command = plan

  variables {
    push = true
  }

  assert {
    condition     = length(output.worker_pools) == 0 && !contains(keys(google_service_account.this), "worker") && length(google_pubsub_subscription_iam_member.pulls) == 0
    error_message = "What is pushed is not pulled."
  }

  assert {
    condition     = alltrue([for each in google_pubsub_subscription.shard : each.push_config[0].oidc_token[0].audience == "postman-deliver" && each.retry_policy[0].minimum_backoff == "10s" && each.dead_letter_policy[0].max_delivery_attempts == 100])
    error_message = "Pushes must bear a token for deliver, and come back after a while."
  }

  assert {
    condition     = one([for each in one(google_cloud_run_v2_service.this["deliver"].template[0].containers).env : each.value if each.name == "POSTMAN_PUSH_AUDIENCE"]) == "postman-deliver"
    error_message = "deliver must expect the audience that Pub/Sub names."
  }

  assert {
    condition     = google_cloud_run_v2_service.this["deliver"].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && keys(google_cloud_run_v2_service_iam_member.proves_itself) == ["deliver"]
    error_message = "deliver must check tokens itself, and hear the project's networks only."
  }
}

run "console" {
  command = plan

  variables {
    console           = true
    console_users     = ["group:desk@example.org"]
    console_operators = ["example.org"]
  }

  assert {
    condition     = google_cloud_run_v2_service.this["console"].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && keys(google_cloud_run_v2_service_iam_member.looks) == ["group:desk@example.org"] && google_cloud_run_v2_service.this["console"].iap_enabled != true
    error_message = "The console must be for those who were named, from inside."
  }

  assert {
    condition     = google_cloud_run_v2_service.this["console"].template[0].timeout == "3600s" && google_cloud_run_v2_service.this["console"].template[0].scaling[0].min_instance_count == 0 && google_cloud_run_v2_service.this["console"].template[0].scaling[0].max_instance_count == 2
    error_message = "A page must be able to stay open for an hour, and nothing run while nobody looks."
  }

  assert {
    condition     = one([for each in one(google_cloud_run_v2_service.this["console"].template[0].containers).env : each.value if each.name == "POSTMAN_CONSOLE_OPERATORS"]) == "example.org"
    error_message = "The console must know who may act."
  }
}

run "console_behind_the_proxy" {
  command = plan

  variables {
    console       = true
    console_iap   = true
    console_users = ["group:desk@example.org"]
  }

  assert {
    condition     = google_cloud_run_v2_service.this["console"].iap_enabled && keys(google_cloud_run_v2_service_iam_member.looks) == ["serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com"]
    error_message = "With Identity-Aware Proxy nobody else may invoke the console."
  }

  assert {
    condition     = one([for each in one(google_cloud_run_v2_service.this["console"].template[0].containers).env : each.value if each.name == "POSTMAN_CONSOLE_AUDIENCE"]) == "/projects/123456789012/locations/europe-west1/services/postman-console" && contains(keys(google_project_service.this), "iap.googleapis.com")
    error_message = "The console must expect assertions for itself, and the API be on."
  }
}

run "no_console" {
  command = plan

  assert {
    condition     = !contains(keys(google_cloud_run_v2_service.this), "console") && !contains(keys(google_service_account.this), "console") && output.console_url == null && !contains(keys(google_project_service.this), "iap.googleapis.com")
    error_message = "Without being asked for there must be no console, and nothing for it."
  }
}

run "wrong_wishes" {
  command = plan

  variables {
    callers             = ["allAuthenticatedUsers"]
    console_operators   = ["group:desk@example.org"]
    console_users       = ["allUsers"]
    image               = "postman:latest"
    max_workers         = 6
    scaled_from_outside = true
    settings            = { POSTMAN_QUEUE = "memory:" }
  }

  expect_failures = [var.callers, var.console_operators, var.console_users, var.image, var.max_workers, var.settings]
}
