"""The providers' document and the keys that it names: read as a whole, and followed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, cast

import structlog
from pydantic import SecretStr

from postman.adapters.clock import SystemClock
from postman.adapters.file_documents import FileDocuments
from postman.config import API_KEY, ProviderEntry, Settings, parse_providers
from postman.core.document import Document
from postman.errors import ConfigError, DocumentChangedError, DocumentError
from postman.ports.clock import Clock
from postman.ports.documents import Documents
from postman.ports.opening import OpenDocuments
from postman.ports.secrets import OpenSecrets, SecretRefusedError, Secrets, SecretUnavailableError, Surroundings
from postman.runtime.keys import Keyring
from postman.wiring.loading import has, load, names
from postman.wiring.stores import cluster_of

__all__ = ["DocumentReader", "Keys", "open_documents", "open_keyring", "place_of"]

_LOG = structlog.get_logger("postman.wiring")

_PASSWORD: Final = re.compile(r"//[^/@]*@")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+]*):")
_WEBHOOK_KEY: Final = "webhook_key"
_SEED: Final = "POSTMAN_PROVIDERS_SEED"


class Keys(Enum):
    """Whose keys are read: nobody should hold what it does not need."""

    SENDING = "sending"
    """All but those for events, of the providers that are enabled; of the others those that can be had, to ask."""
    EVENTS = "events"
    """Those that prove events (options that end in `_key`); of retired providers too, where they can be had."""
    NONE = "none"


def open_documents(settings: Settings, clock: Clock | None = None) -> Documents:
    """Return where the providers' document is: a store by its scheme, else a file. No connection is made yet."""
    if not settings.providers:
        raise ConfigError("POSTMAN_PROVIDERS: is not set; it names the TOML file of the providers, or their store")
    match = _SCHEME.match(settings.providers)
    if match is None or (not has("postman.documents", match[1]) and "://" not in settings.providers):
        return FileDocuments(_path_of(settings))
    opening = cast("OpenDocuments", load("postman.documents", match[1], "POSTMAN_PROVIDERS"))
    return opening(settings.providers[match.end() :], cluster_of(settings, clock))


def open_keyring(settings: Settings, environ: Mapping[str, str], *, clock: Clock | None = None) -> Keyring:
    """Return what reads the references of keys, of every scheme that is installed; no connection is made yet."""
    return Keyring(_schemes(settings, environ), clock=clock or SystemClock())


def place_of(settings: Settings) -> str:
    """Return what complaints about the document begin with; without a password that the store's URL may hold."""
    return _PASSWORD.sub("//***@", settings.providers)


class DocumentReader:
    """Reads the document, and of its keys what is needed: one for each process that follows it.

    Each `read` looks at the store, and now and then at keys that may change. Raises `ConfigError` and `DocumentError`
    for what is wrong, and `LedgerUnavailableError` or `SecretUnavailableError` for what cannot be reached.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], *, keys: Keys, clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock or SystemClock()
        self._documents = open_documents(settings, self._clock)
        self._keyring = Keyring(_schemes(settings, environ), clock=self._clock)
        self._number = -1
        self._good: tuple[str, Sequence[ProviderEntry]] | None = None

    async def read(self) -> tuple[str, Sequence[ProviderEntry]]:
        """Return the document's version, and the providers in it, enabled or not, with the keys that are needed.

        While a document is wrong, the one before it is still given where its keys have changed, once for each change.
        """
        document = await self._documents.read() or await self._first()
        await self._keyring.refresh(at_once=document.number != self._number)
        self._number = document.number
        try:
            self._good = await self._read(document)
        except ConfigError:
            if (renewed := await self._renewed()) is not None:
                self._good = renewed
                return renewed
            raise
        return self._good

    async def aclose(self) -> None:
        """Close the store, and what keys were read from."""
        await self._keyring.aclose()
        await self._documents.aclose()

    async def _read(self, document: Document) -> tuple[str, Sequence[ProviderEntry]]:
        place = place_of(self._settings)
        if document.changes:
            place = f"{place} (number {document.number})"
        entries = parse_providers(document.text, place)
        keyed = [await self._keyed(entry) for entry in entries]
        self._keyring.retain({reference for entry in entries for reference in entry.references.values()})
        return _version_of(document), keyed

    async def _renewed(self) -> tuple[str, Sequence[ProviderEntry]] | None:
        """Return what was read last with the keys of today; None where they are the same, or cannot be read."""
        if self._good is None:
            return None
        version, entries = self._good
        try:
            renewed = [await self._keyed(entry) for entry in entries]
        except (ConfigError, SecretUnavailableError):
            return None
        return (version, renewed) if renewed != entries else None

    async def _first(self) -> Document:
        """Put the seed into a store that is empty; whoever comes first does it, and nobody who read one before."""
        if self._good is not None:
            raise DocumentError(f"the document of providers in {place_of(self._settings)} is gone")
        if not self._settings.providers_seed:
            raise ConfigError(
                f"POSTMAN_PROVIDERS: there is no document of providers in {place_of(self._settings)} yet: "
                "`postman providers replace FILE` puts one there"
            )
        from postman.config.editing import text_of_seed  # late: only the first one of all needs it

        text = text_of_seed(self._settings.providers_seed, _SEED)
        parse_providers(text, _SEED)
        first = Document().change(text, by=_SEED, at=self._clock.time(), what="the first document")
        try:
            await self._documents.change(first)
        except DocumentChangedError:
            return await self._documents.read() or first
        _LOG.info("providers_seeded", number=first.number)
        return first

    async def _keyed(self, entry: ProviderEntry) -> ProviderEntry:
        spec = replace(entry.spec, cluster=self._settings.prefix)
        keys: dict[str, SecretStr] = {}
        for field, reference in entry.references.items():
            if _is_read(field, self._keys) and (key := await self._key(entry, field, reference)) is not None:
                keys[field] = key
        return replace(entry, spec=spec).with_keys(keys)

    async def _key(self, entry: ProviderEntry, field: str, reference: str) -> SecretStr | None:
        """Return the key; None where that of a retired provider cannot be had, which then stays out of it."""
        try:
            return await self._keyring.read(reference)
        except SecretRefusedError as error:
            if entry.enabled:
                raise ConfigError(f"{entry.key_places[field]}: {field}: {error}") from None
        except SecretUnavailableError as error:
            if entry.enabled:
                raise SecretUnavailableError("", f"{entry.key_places[field]}: {field}: {error}") from None
        return None


def _is_read(field: str, keys: Keys) -> bool:
    return (keys is Keys.SENDING and field != _WEBHOOK_KEY) or (keys is Keys.EVENTS and field != API_KEY)


def _version_of(document: Document) -> str:
    """A store's number; of a file, which has no history, the beginning of its hash as people write those."""
    return str(document.number) if document.changes else f"{document.number:08x}"


def _path_of(settings: Settings) -> Path:
    return Path(settings.providers).expanduser()


def _schemes(settings: Settings, environ: Mapping[str, str]) -> Mapping[str, "partial[Secrets]"]:
    surroundings = Surroundings(_path_of(settings).parent, environ, settings.project)
    return {name: partial(_open_secrets, name, surroundings) for name in names("postman.secrets")}


def _open_secrets(scheme: str, surroundings: Surroundings) -> Secrets:
    return cast("OpenSecrets", load("postman.secrets", scheme, f"{scheme}:"))(surroundings)
