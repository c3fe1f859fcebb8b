"""Every error of postman.

A class says whose fault it is and what to do next; nobody reads messages to decide.

```
PostmanError
├── ConfigError                 wrong settings: stop at start
├── InvalidMailError            the caller's mistake (also a ValueError)
├── QueueError
│   ├── QueueUnavailableError   try again
│   ├── LeaseLostError          another worker may hold the mail: do not send
│   └── DeliverySettledError    our own bug: settled twice
├── LedgerError
│   ├── LedgerUnavailableError  try again; never send unrecorded
│   │   └── EntryOfNewerVersionError  this one mail is a newer postman's: leave it alone
│   ├── ClaimHeldError          another worker is sending this mail
│   └── ClaimLostError          our claim was taken over: write nothing more in its name
├── LayoutError                 a change of the shards that would be unsafe, or makes no sense: nothing was changed
│   └── LayoutChangedError      somebody else changed the layout meanwhile: look again
├── DocumentError               the providers' document cannot be read, or not be changed so: nothing was changed
│   └── DocumentChangedError    somebody else changed it meanwhile: look again
├── SecretError                 a key cannot be had; .reference .problem (see ports/secrets.py)
│   ├── SecretRefusedError      (also a ConfigError) somebody must change something
│   └── SecretUnavailableError  try again
├── ForgedEventError            a provider's event that it did not sign: changes nothing
├── ProviderError               .provider .status .retry_after
│   ├── MailRejectedError       this mail is refused: dead-letter, no failover, no mark against the provider
│   ├── RouteRefusedError       this sender is not welcome there: use another provider, no mark against it
│   ├── ThrottledError          slow down, or use another provider
│   ├── QuotaExceededError      nothing more until the quota renews: use another provider
│   ├── ProviderDownError       nothing was sent: use another provider
│   │   └── ProviderUnreachableError  no connection came about: the fault may be on this side
│   ├── CredentialsError        our key is wrong: use another, wake a human
│   └── OutcomeUnknownError     it may have been sent: ask before sending again
└── NoProviderError             all of them failed or are held back; .retry_after
```
"""

__all__ = [
    "ClaimHeldError",
    "ClaimLostError",
    "ConfigError",
    "CredentialsError",
    "DeliverySettledError",
    "DocumentChangedError",
    "DocumentError",
    "EntryOfNewerVersionError",
    "ForgedEventError",
    "InvalidMailError",
    "LayoutChangedError",
    "LayoutError",
    "LeaseLostError",
    "LedgerError",
    "LedgerUnavailableError",
    "MailRejectedError",
    "NoProviderError",
    "OutcomeUnknownError",
    "PostmanError",
    "ProviderDownError",
    "ProviderError",
    "ProviderUnreachableError",
    "QueueError",
    "QueueUnavailableError",
    "QuotaExceededError",
    "RouteRefusedError",
    "ThrottledError",
]


class PostmanError(Exception):
    """The root: whatever postman raises on purpose."""


class ConfigError(PostmanError):
    """A setting is wrong; the message names it. Nothing was started."""


class InvalidMailError(PostmanError, ValueError):
    """A mail breaks the contract; *field* names where (``to[2].email``), *problem* says how."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


class QueueError(PostmanError):
    """Something about a queue."""


class QueueUnavailableError(QueueError):
    """The queue cannot be reached now; the same call may succeed later."""


class LeaseLostError(QueueError):
    """The time a delivery was ours is over; another worker may hold the mail."""


class DeliverySettledError(QueueError):
    """A delivery was acked or given back twice: a bug of ours."""


class LedgerError(PostmanError):
    """Something about the ledger."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be reached now. What was asked may have been done: ask again."""


class EntryOfNewerVersionError(LedgerUnavailableError):
    """A mail's entry is in a state that this version does not know; the ledger is in order."""


class ClaimHeldError(LedgerError):
    """Another worker is sending this mail."""


class ClaimLostError(LedgerError):
    """A claim is no longer the current one."""


class LayoutError(PostmanError):
    """The shards cannot be changed in this way now; the message says why. Nothing was changed."""


class LayoutChangedError(LayoutError):
    """The layout is no longer the one that the change was made from."""


class DocumentError(PostmanError):
    """The providers' document cannot be read or changed; the message says why. Nothing was changed."""


class DocumentChangedError(DocumentError):
    """The document is no longer the one that the change was made from."""


class ProviderError(PostmanError):
    """A provider's answer, or its absence. Never holds an address, a body or a key."""

    def __init__(
        self, problem: str, *, provider: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{provider}: {problem}")
        self.problem = problem
        self.provider = provider
        self.status = status
        self.retry_after = retry_after


class MailRejectedError(ProviderError):
    """The provider refuses this mail for what it is; another provider would too."""


class RouteRefusedError(ProviderError):
    """The provider refuses this sender, domain or feature, not the mail and not everybody."""


class ThrottledError(ProviderError):
    """Too fast for this provider; *retry_after* seconds where it says so."""


class QuotaExceededError(ProviderError):
    """The account may send no more until its quota renews or is paid."""


class ProviderDownError(ProviderError):
    """The provider failed and certainly did not take the mail."""


class ProviderUnreachableError(ProviderDownError):
    """No connection to the provider came about; where that is so of all of them, the fault is on this side."""


class CredentialsError(ProviderError):
    """The provider does not accept our key; the mail was not taken."""


class OutcomeUnknownError(ProviderError):
    """The provider may have taken the mail."""


class ForgedEventError(PostmanError):
    """A post of events is not proven to be the provider's. The message never tells which signature would have done."""


class NoProviderError(PostmanError):
    """No provider can be used now; *retry_after* seconds until the earliest may be tried."""

    def __init__(self, problem: str, *, retry_after: float) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
