# 1.11: keys go into write-only arguments, so that no state holds them.
# google 7.18: worker pools without a perpetual difference; below 9 only what 7 and 8 both know is used.
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.18, < 9.0"
    }
  }
}
