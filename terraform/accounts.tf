# One account for each thing that runs; what each may do stands in the file of what it may do it to.
locals {
  accounts = { for name, account in {
    console = { wanted = var.console, does = "Shows the cluster to its operators, and acts for them" }
    deliver = { wanted = var.push, does = "Delivers the mails that Pub/Sub pushes" }
    events  = { wanted = local.hears_events, does = "Takes the events of providers" }
    ingress = { wanted = var.ingress, does = "Takes mails over HTTP" }
    pusher  = { wanted = var.push, does = "Stands in the token with which Pub/Sub pushes; it may do nothing" }
    worker  = { wanted = !var.push, does = "Pulls mails and delivers them" }
  } : name => account.does if account.wanted }

  sender = var.push ? "deliver" : "worker"
}

resource "google_service_account" "this" {
  for_each = local.accounts

  project      = var.project
  account_id   = "${var.prefix}-${each.key}"
  display_name = "postman ${var.prefix}: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.this]
}
