# CREMA must find the pool, and a trigger for each shard.
mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  project       = "acme-mail"
  region        = "europe-west1"
  image         = "postman@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  shards        = 3
  provider_keys = { sendgrid = { api_key = "a key" } }
}

run "configuration" {
  command = plan

  assert {
    condition     = yamldecode(nonsensitive(google_parameter_manager_parameter_version.crema.parameter_data)).spec.scaledObjects[0].spec.scaleTargetRef.name == "projects/acme-mail/locations/europe-west1/workerpools/postman-worker"
    error_message = "The target must be the worker pool."
  }

  assert {
    condition = [for each in yamldecode(nonsensitive(google_parameter_manager_parameter_version.crema.parameter_data)).spec.scaledObjects[0].spec.triggers : each.metadata] == [
      for shard in range(3) : { mode = "SubscriptionSize", subscriptionName = "projects/acme-mail/subscriptions/postman-mail-${shard}", value = "667" }
    ]
    error_message = "Each shard must have a trigger with its part of the backlog."
  }

  assert {
    condition     = endswith(one(google_cloud_run_v2_service.crema.template[0].containers[0].env).value, "/parameters/postman-crema/versions/${google_parameter_manager_parameter_version.crema.parameter_version_id}")
    error_message = "CREMA must read the version that is written here."
  }
}

# What docs/terraform.md shows is this configuration, with one trigger of eight and without what it need not say.
run "documented" {
  command = plan

  variables {
    shards = 8
  }

  assert {
    condition = alltrue([for each in [yamldecode(nonsensitive(google_parameter_manager_parameter_version.crema.parameter_data))] : yamldecode(one(regex("```yaml\n((?s:.*?))```", file("../../../docs/terraform.md")))) == {
      apiVersion = each.apiVersion
      kind       = each.kind
      spec = {
        pollingInterval        = each.spec.pollingInterval
        triggerAuthentications = each.spec.triggerAuthentications
        scaledObjects = [{ spec = {
          scaleTargetRef  = each.spec.scaledObjects[0].spec.scaleTargetRef
          minReplicaCount = each.spec.scaledObjects[0].spec.minReplicaCount
          maxReplicaCount = each.spec.scaledObjects[0].spec.maxReplicaCount
          triggers        = [each.spec.scaledObjects[0].spec.triggers[0]]
        } }]
      }
    }])
    error_message = "The page must show the configuration of this example."
  }
}
