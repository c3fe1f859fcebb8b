"""Settings: checked as a whole before the first connection."""

from postman.config.providers import API_KEY, ProviderEntry, parse_providers
from postman.config.settings import Settings

__all__ = ["API_KEY", "ProviderEntry", "Settings", "parse_providers"]
