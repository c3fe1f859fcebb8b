"""Settings from the environment, `POSTMAN_*`.

All of them are read and checked together, before anything is opened; an error
names the variable.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from postman.errors import ConfigError

__all__ = ["Settings"]

_PREFIX: Final = "POSTMAN_"
_NOT_OURS: Final = re.compile(r"POSTMAN_(PYTHON|API_KEY|(PROXY_)?(PORT|SERVICE)(_.*)?|CONSOLE_(PORT_|SERVICE).*)")
"""Others' names: of `emulator.sh`, of the API tool called Postman, and what Kubernetes sets for Services of ours."""
_OF_KUBERNETES: Final = re.compile(r"(tcp|udp|sctp)://.*")
"""What it sets `POSTMAN_CONSOLE_PORT` to, a setting of ours, where a Service is called `postman-console`."""

_LONGEST_WINDOW: Final = 300.0

_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """What a process of postman needs to know. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    project: str = ""
    """The Google Cloud project; `GOOGLE_CLOUD_PROJECT` where it is not set."""
    queue: str = Field(default="sqlite:", pattern=r"^[a-z][a-z0-9+]*:")
    """Where the queues are: a scheme and what its adapter makes of the rest."""
    ledger: str = Field(default="sqlite:", pattern=r"^[a-z][a-z0-9+]*:")
    """Where the ledger is."""
    prefix: str = Field(default="postman", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Begins every name of a topic, subscription, table or collection."""
    shards: int = Field(default=8, ge=1, le=1024)
    """How many there are until a layout says otherwise (`postman reshard`)."""
    shard_hand: int = Field(default=0, ge=0, le=1024)
    """To how many shards the mails of one tenant or key go, until a layout says otherwise; 0: to all, by their ids."""
    shard_share: float = Field(default=0.5, gt=0, le=1)
    """Of a worker's places, those that mails of one shard may take."""
    shard_choices: int = Field(default=0, ge=0, le=64)
    """Among how many random shards a busy worker chooses the one with the oldest mails; 0: among all."""
    providers: str = Field(default="")
    """Path of the TOML file that names the providers, or the store of their document, like `firestore:`."""
    providers_seed: str = Field(default="", repr=False)
    """What is put into that store where there is no document yet: JSON like {"provider": [{"name": …}]}."""
    only_shards: str = Field(default="", pattern=r"^([0-9]+(, ?[0-9]+)*)?$")
    """The shards that a worker opens, by number, separated by commas; empty: all."""
    proxy: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Address of the observing proxy that mails are sent through; empty: none, they go to the providers directly."""
    concurrency: int = Field(default=50, ge=1, le=10_000)
    """Mails in flight per worker."""
    memory: int = Field(default=256 << 20, ge=32 << 20)
    """Bytes of messages that a worker holds at the most, give or take one of 10 MB for each shard."""
    ack_deadline: float = Field(default=30.0, ge=10, le=600)
    """How long a dead worker's mails stay away."""
    grace: _Seconds = 8.0
    """How long a worker may take to drain; less than the platform's own limit (10 s on Cloud Run)."""
    doubt_window: float = Field(default=600.0, ge=0, allow_inf_nan=False)
    """How long word is waited for of a mail that may have been sent, where its provider cannot be asked."""
    suppress_for: float = Field(default=7_776_000.0, ge=0, allow_inf_nan=False)
    """How long an address that bounced for good gets no more mail; 0: for ever. One that complained never gets any."""
    rehome_after: float = Field(default=120.0, ge=0, allow_inf_nan=False)
    """How long a worker's own provider must be in order again before its traffic goes back, give or take a half."""
    health_window: float = Field(default=30.0, allow_inf_nan=False)
    """Every how many seconds a worker reports how it does, and looks how it compares; 0: never."""
    push_account: str = ""
    """The service account that a push subscription pushes with; `none`: everybody may, at the emulator only."""
    push_audience: str = ""
    """The audience of its token."""
    push_issuer: str = ""
    """Another issuer than Google; goes with `push_keys`."""
    push_keys: str = ""
    """Where that issuer's keys are: whoever controls this address can push any mail."""
    ingress_keys: str = ""
    """Who may use the function `ingress`: references of keys, separated by commas."""
    trust_callers: bool = False
    """Whether all who reach `ingress` may publish."""
    probe_port: int = Field(default=0, ge=0, le=65535)
    """Where a worker answers the platform's probes, `GET /live` and `GET /ready`; 0: nowhere."""
    console_port: int = Field(default=8030, ge=0, le=65535)
    """Where `postman console` listens; 0: on any free port."""
    console_keys: str = Field(default="", repr=False)
    """Whose tokens may act there: references of tokens, separated by commas, each with `name=` before it or without."""
    console_identity: str = Field(default="", pattern=r"^(cloudrun|iap)?$")
    """Which platform says who somebody is: `cloudrun`, `iap` (Identity-Aware Proxy); empty: none does."""
    console_audience: str = ""
    """The audience of Identity-Aware Proxy's assertions, as it is for this service."""
    console_operators: str = Field(default="", repr=False)
    """Who of those whom the platform lets in may act: addresses or domains, separated by commas; empty: all of them."""
    log_level: str = Field(default="info", pattern=r"(?i)^(debug|info|warning|error|critical)$")

    @field_validator("health_window")
    @classmethod
    def _is_window(cls, seconds: float) -> float:
        if seconds and not 1 <= seconds <= _LONGEST_WINDOW:
            raise PydanticCustomError("window", "must be 0 (no reports) or from 1 to 300 seconds")
        return seconds

    @property
    def shards_only(self) -> frozenset[int]:
        """The numbers in *only_shards*; empty: all."""
        return frozenset(int(number) for number in self.only_shards.split(",") if number.strip())

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; `ConfigError` names the variable that is wrong. An empty one counts as not set."""
        given = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(_PREFIX) and value and not _is_others(name, value)
        }
        given.setdefault("project", environ.get("GOOGLE_CLOUD_PROJECT", ""))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls)) from None


def _is_others(name: str, value: str) -> bool:
    is_of_kubernetes = name == f"{_PREFIX}CONSOLE_PORT" and _OF_KUBERNETES.fullmatch(value)
    return bool(_NOT_OURS.fullmatch(name) or is_of_kubernetes)


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    first, *others = error.errors(include_input=False, include_url=False)
    name = str(first["loc"][0])
    more = f" (and {len(others)} more)" if others else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f"; did you mean {_PREFIX}{near[0].upper()}?" if near else ""
        return f"{_PREFIX}{name.upper()}: there is no such setting{hint}{more}"
    return f"{_PREFIX}{name.upper()}: {_PROBLEMS.get((name, first['type']), first['msg'])}{more}"


_URL: Final = "must be a scheme and a colon, like sqlite:PATH or pubsub:"
_PROBLEMS: Final = {
    ("queue", "string_pattern_mismatch"): _URL,
    ("ledger", "string_pattern_mismatch"): _URL,
    (
        "prefix",
        "string_pattern_mismatch",
    ): "must begin with a letter and have lower-case letters, digits and hyphens only",
    ("proxy", "string_pattern_mismatch"): "must be an http or https URL, like http://127.0.0.1:8090",
    ("only_shards", "string_pattern_mismatch"): "must be numbers of shards with commas between, like 0,3",
    ("console_identity", "string_pattern_mismatch"): "must be cloudrun or iap",
    ("log_level", "string_pattern_mismatch"): "must be debug, info, warning, error or critical",
}
