"""The producer as a service imports it: `from postman import Producer`."""

import os
from collections.abc import Mapping
from typing import Self

from postman.config import Settings
from postman.runtime.producer import Producer as _Producer
from postman.wiring import open_producer

__all__ = ["Producer"]


class Producer(_Producer):
    """A producer that knows how to set itself up."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return a producer set up by `POSTMAN_*`; raises `ConfigError`."""
        return open_producer(Settings.from_env(environ), cls)
