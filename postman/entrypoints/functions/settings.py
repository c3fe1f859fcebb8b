"""What the functions need to know, from the environment alone: whoever runs them may have no command line of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from postman.config import Settings
from postman.entrypoints.serve.access import Access, read_key
from postman.errors import ConfigError
from postman.wiring.pushing import PUSH_VARIABLES, Pushers

__all__ = ["TARGETS", "FunctionSettings"]

TARGETS: Final = ("deliver", "events", "ingress")

_KEYS: Final = "POSTMAN_INGRESS_KEYS"
_TRUST: Final = "POSTMAN_TRUST_CALLERS"
_OWN: Final = frozenset({*PUSH_VARIABLES, _KEYS, _TRUST})
_YES: Final = {"": False, "0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """The settings of all processes, and those of the functions."""

    chosen: Settings
    pushers: Pushers
    """Who may push to `deliver`; the other two need none."""
    access: Access
    """Who may use `ingress`."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], target: str) -> "FunctionSettings":
        """Read all that *target* needs; `ConfigError` names the variable that is wrong or missing."""
        if target not in TARGETS:
            raise ConfigError(f"FUNCTION_TARGET: must be one of {', '.join(TARGETS)}")
        chosen = Settings.from_env(environ)
        _refuse_memory(chosen)
        if target != "ingress" and not chosen.providers:
            raise ConfigError("POSTMAN_PROVIDERS: is not set; it names the document of the providers")
        pushers = Pushers.from_env(environ) if target == "deliver" else Pushers()
        return cls(chosen, pushers, _access(environ) if target == "ingress" else Access())


def _access(environ: Mapping[str, str]) -> Access:
    """Return the rule of `postman serve`: keys, or only this machine, or all where something in front checks them."""
    references = [each.strip() for each in environ.get(_KEYS, "").split(",") if each.strip()]
    trusts = environ.get(_TRUST, "").strip().lower()
    if trusts not in _YES:
        raise ConfigError(f"{_TRUST}: must be true or false")
    try:
        keys = [read_key(reference, environ) for reference in references]
    except ConfigError as error:
        raise ConfigError(f"{_KEYS}: {str(error).partition(': ')[2]}") from None
    return Access(keys, lets_all_in=_YES[trusts])


def _refuse_memory(chosen: Settings) -> None:
    for name in ("queue", "ledger"):
        if getattr(chosen, name).startswith("memory:"):
            raise ConfigError(f"POSTMAN_{name.upper()}: memory: is this process's own, and no other's")
