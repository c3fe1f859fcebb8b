"""The settings that may change while the sandbox runs."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from postman.errors import ConfigError
from postman.sandbox.sendgrid import SendGrid
from postman.sandbox.settings import ProviderName, SandboxSettings, SettingError, Tunables, changed

__all__ = ["LiveSettings"]


class LiveSettings:
    """What holds now, for each provider; raises `ConfigError` if events are wanted that cannot be signed."""

    def __init__(self, settings: SandboxSettings, sendgrid: SendGrid) -> None:
        self._signer = sendgrid
        self._domains = settings.mailgun_domains
        self._now_valid = {ProviderName.SENDGRID: settings.sendgrid, ProviderName.MAILGUN: settings.mailgun}
        self._check_signing(settings.sendgrid)

    @property
    def sendgrid(self) -> Tunables:
        """SendGrid's."""
        return self._now_valid[ProviderName.SENDGRID]

    @property
    def mailgun(self) -> Tunables:
        """Mailgun's."""
        return self._now_valid[ProviderName.MAILGUN]

    def reader(self, provider: ProviderName) -> Callable[[], Tunables]:
        """Return a function that gives what holds when it is called."""
        return lambda: self._now_valid[provider]

    def change(self, document: object) -> None:
        """Change what *document* names, all or nothing; raise `SettingError` naming what is wrong.

        A setting at the top of the document is for both providers, one under a provider's name for that one.
        """
        if not isinstance(document, Mapping):
            raise SettingError("settings", "must be an object")
        shared = {name: value for name, value in document.items() if name not in set(ProviderName)}
        result = {name: changed(now, shared) for name, now in self._now_valid.items()}
        for name in ProviderName:
            own = document.get(name, {})
            if not isinstance(own, Mapping):
                raise SettingError(name, "must be an object")
            result[name] = changed(result[name], own)
        self._check_signing(result[ProviderName.SENDGRID])
        self._now_valid = result

    def _check_signing(self, tunables: Tunables) -> None:
        if tunables.webhook_url is not None:
            _ = self._signer.public_key

    def document(self) -> dict[str, object]:
        """Return all settings, and what a webhook verifies SendGrid's events with."""
        sendgrid, mailgun = asdict(self.sendgrid), asdict(self.mailgun)
        return {
            "sendgrid": {**sendgrid, "webhook_public_key": self._public_key()},
            "mailgun": {**mailgun, "domains": list(self._domains)},
        }

    def _public_key(self) -> str | None:
        try:
            return self._signer.public_key
        except ConfigError:
            return None
