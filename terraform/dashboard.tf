locals {
  charts = [
    { title = "Mails that wait", by = "{{subscription_id}}", query = "sum by (subscription_id) (${local.waiting_count}${local.shard_series})" },
    { title = "Age of the oldest mail, seconds", by = "{{subscription_id}}", query = "max by (subscription_id) (${local.waiting_age}${local.shard_series})" },
    { title = "Finished, mails per second", by = "{{subscription_id}}", query = "sum by (subscription_id) (rate(${local.acknowledged}${local.shard_series}[5m]))" },
    { title = "Sent, mails per second", by = "{{provider}}", query = "sum by (provider) (rate(${local.event_series.sent}[5m]))" },
    { title = "Dead letters that wait", by = "{{subscription_id}}", query = "sum by (subscription_id) (${local.waiting_count}${local.dead_series})" },
    { title = "Dead letters by reason, in ten minutes", by = "{{reason}}", query = "sum by (reason) (increase(${local.event_series.dead_lettered}[10m]))" },
    { title = "In doubt, in ten minutes", by = "{{provider}}", query = "sum by (provider) (increase(${local.event_series.in_doubt}[10m]))" },
    { title = "Doubts settled, in ten minutes", by = "{{outcome}}", query = "sum by (outcome) (increase(${local.event_series.doubt_settled}[10m]))" },
    { title = "Breakers that opened, in ten minutes", by = "{{provider}}", query = "sum by (provider) (increase(${local.event_series.provider_down}[10m]))" },
    { title = "Providers that recovered, in ten minutes", by = "{{provider}}", query = "sum by (provider) (increase(${local.event_series.provider_recovered}[10m]))" },
    { title = "Failed over, in ten minutes", by = "{{provider}}", query = "sum by (provider) (increase(${local.event_series.failed_over}[10m]))" },
    { title = "Workers found unfit, in thirty minutes", by = "{{health}}", query = "sum by (health) (increase(${local.event_series.unfit}[30m]))" },
  ]

  tile = { columns = 2, width = 24, height = 14 }
}

resource "google_monitoring_dashboard" "this" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = "postman ${var.prefix}"
    mosaicLayout = {
      columns = local.tile.columns * local.tile.width
      tiles = [for number, chart in local.charts : {
        xPos   = number % local.tile.columns * local.tile.width
        yPos   = floor(number / local.tile.columns) * local.tile.height
        width  = local.tile.width
        height = local.tile.height
        widget = {
          title = chart.title
          xyChart = {
            dataSets = [{
              plotType        = "LINE"
              legendTemplate  = chart.by
              timeSeriesQuery = { prometheusQuery = chart.query }
            }]
          }
        }
      }]
    }
  })

  depends_on = [google_logging_metric.event]
}
