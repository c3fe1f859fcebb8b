"""Settings: checked as a whole before the first connection."""

from postman.config.providers import Keys, ProviderEntry, read_providers
from postman.config.settings import Settings

__all__ = ["Keys", "ProviderEntry", "Settings", "read_providers"]
