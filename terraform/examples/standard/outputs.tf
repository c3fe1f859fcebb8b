output "operator_environment" {
  description = "What to export before `postman status`."
  value       = module.postman.operator_environment
}

output "publisher_environment" {
  description = "What a publisher needs to know."
  value       = module.postman.publisher_environment
}

output "registry" {
  description = "Where to push the image."
  value       = module.postman.registry
}
