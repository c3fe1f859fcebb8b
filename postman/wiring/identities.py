"""Who says which person sent a request to the console."""

from collections.abc import Mapping
from typing import Final

from postman.adapters.clock import SystemClock
from postman.config import Settings
from postman.errors import ConfigError
from postman.ports.clock import Clock
from postman.ports.tokens import IdentityJudge

__all__ = ["open_identities"]

_IDENTITY: Final = "POSTMAN_CONSOLE_IDENTITY"
_AUDIENCE: Final = "POSTMAN_CONSOLE_AUDIENCE"
_IN_CLOUD_RUN: Final = "K_SERVICE"
"""Set by Cloud Run in each service's containers."""


def open_identities(
    settings: Settings, environ: Mapping[str, str], *, clock: Clock | None = None
) -> IdentityJudge | None:
    """Return who tells people apart, None where no platform does; no connection is made yet.

    Raises `ConfigError` without the audience that `iap` needs, and for `cloudrun` anywhere else: its callers are
    believed because Cloud Run has checked them.
    """
    if not settings.console_identity:
        return None
    try:
        from postman.adapters.identities import CloudRunIdentities, IapIdentities, iap_keys
    except ImportError as error:
        raise ConfigError(f"{_IDENTITY}: lacks a library: {error.name}; install postman[functions]") from error

    clock = clock or SystemClock()
    if settings.console_identity == "cloudrun":
        if not environ.get(_IN_CLOUD_RUN):
            raise ConfigError(
                f"{_IDENTITY}: cloudrun is for a Cloud Run service only: elsewhere anybody is whom he says"
            )
        return CloudRunIdentities(clock=clock)
    if not settings.console_audience:
        raise ConfigError(f"{_AUDIENCE}: is not set; iap needs it, as /projects/NUMBER/locations/REGION/services/NAME")
    return IapIdentities(settings.console_audience, keys=iap_keys(clock), clock=clock)
