"""The providers' document: read, and changed with who did it when and why."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from postman.config import ProviderEntry, Settings, parse_providers
from postman.config.editing import add_provider, change_provider, check_accounts, remove_provider
from postman.config.providers import BREAKERS
from postman.core.document import Document
from postman.entrypoints.operating.words import with_why
from postman.errors import ConfigError, DocumentChangedError
from postman.ports.documents import Documents
from postman.wiring import Keys, check_providers, open_documents, place_of, provider_entries

__all__ = [
    "Changed",
    "Edit",
    "adding",
    "change_document",
    "change_providers",
    "checked_entries",
    "enabling",
    "forcing",
    "read_document",
    "removing",
    "replacing",
    "rereading",
    "setting",
    "weighing",
]

_TRIES: Final = 5
_UNREAD: Final = SecretStr("unread")


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the document's text."""

    what: str
    """In words, for the history."""
    make: Callable[[str], str]
    """Returns the new text of the latest; may be called again where somebody else came before."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The document before a change, and the one that was made."""

    before: Document
    after: Document
    warning: str = ""
    """What its maker should know at once; empty for nothing."""


def adding(fields: Mapping[str, object]) -> Edit:
    """Add a provider; a field that is None is left out."""
    kept = {field: value for field, value in fields.items() if value is not None}
    return Edit(f"add {kept['name']}", lambda text: add_provider(text, kept))


def setting(name: str, fields: Mapping[str, object]) -> Edit:
    """Change fields of a provider; one that is None is taken out."""
    return Edit(f"set {', '.join(fields)} of {name}", lambda text: change_provider(text, name, fields))


def enabling(name: str, *, enabled: bool) -> Edit:
    """Let a provider get mails again; or none any more, but finish what it has, and be asked about doubts."""
    what = "enable" if enabled else "disable"
    return Edit(f"{what} {name}", lambda text: change_provider(text, name, {"enabled": enabled}))


def weighing(name: str, share: float) -> Edit:
    """Change a provider's share of the traffic, against those of the others."""
    return Edit(f"weight {share:g} for {name}", lambda text: change_provider(text, name, {"weight": share}))


def forcing(name: str, to: str) -> Edit:
    """Hold a provider's breaker open or closed in all workers, or leave it to itself again (`auto`)."""
    if to not in BREAKERS:
        raise ConfigError(f"breaker: must be {', '.join(BREAKERS)}, not {to!r}")
    value = None if to == "auto" else to
    return Edit(f"breaker {to} for {name}", lambda text: change_provider(text, name, {"breaker": value}))


def removing(name: str) -> Edit:
    """Take a provider out: then it can settle no doubt."""
    return Edit(f"remove {name}", lambda text: remove_provider(text, name))


def replacing(text: str, source: str) -> Edit:
    """Put a whole document in the place of the one that is there; raises `ConfigError` for one that is wrong."""
    parse_providers(text, source)
    return Edit(f"replace by {Path(source).name}", lambda _: text)


def rereading() -> Edit:
    """Change nothing, which lets all workers read the keys anew."""
    return Edit("read the keys anew", lambda text: text)


async def change_providers(
    chosen: Settings, edit: Edit, *, by: str, why: str = "", only: int | None = None, same_account: bool = False
) -> Changed:
    """Do as `change_document` with the document that the settings name."""
    async with aclosing(open_documents(chosen)) as documents:
        await documents.ensure()
        return await change_document(
            documents, edit, place=place_of(chosen), by=by, why=why, only=only, same_account=same_account
        )


async def change_document(
    documents: Documents,
    edit: Edit,
    *,
    place: str,
    by: str,
    why: str = "",
    only: int | None = None,
    same_account: bool = False,
    time: Callable[[], float] = time.time,
) -> Changed:
    """Change the document, and again where somebody else came before; nothing is put there that is wrong anywhere.

    *place* begins complaints. Where the latest is not number *only*, nothing is changed: `DocumentChangedError`.
    """
    what = with_why(edit.what, why)
    for _ in range(_TRIES):
        latest = await documents.read() or Document()
        if only not in (None, latest.number):
            raise DocumentChangedError(
                f"--from {only}: the document is number {latest.number} by now: look at it again, by "
                "`postman providers show`, and make your change in that one"
            )
        text = edit.make(latest.text)
        entries = await _check(text, latest, place, same_account=same_account)
        changed = latest.change(text, by=by, at=time(), what=what)
        try:
            await documents.change(changed)
        except DocumentChangedError as error:
            problem = error
        else:
            return Changed(latest, changed, _warning(entries))
    raise problem


async def read_document(chosen: Settings) -> Document:
    """Return the document; raises `ConfigError` where there is none yet."""
    async with aclosing(open_documents(chosen)) as documents:
        document = await documents.read()
    if document is None:
        raise ConfigError(
            f"there is no document of providers in {place_of(chosen)} yet: `postman providers replace FILE`"
        )
    return document


async def checked_entries(chosen: Settings) -> Sequence[ProviderEntry]:
    """Return the providers of the document, all of it checked; with their keys only where it is a file."""
    async with aclosing(open_documents(chosen)) as documents:
        in_store = bool((await documents.read() or Document()).changes)
    entries = await provider_entries(chosen, os.environ, keys=Keys.NONE if in_store else Keys.SENDING)
    await check_providers([_as_if_keyed(entry) if in_store else entry for entry in entries])
    return entries


async def _check(text: str, latest: Document, place: str, *, same_account: bool) -> Sequence[ProviderEntry]:
    entries = parse_providers(text, place)
    await check_providers([_as_if_keyed(entry) for entry in entries])
    try:
        before = parse_providers(latest.text, place)
    except ConfigError:
        before = ()
    if not same_account:
        check_accounts(before, entries)
    return entries


def _as_if_keyed(entry: ProviderEntry) -> ProviderEntry:
    """A change is made from a machine that need not reach the keys: workers keep what they have if one is missing."""
    return replace(entry.with_keys(dict.fromkeys(entry.references, _UNREAD)), enabled=True)


def _warning(entries: Sequence[ProviderEntry]) -> str:
    """Say where no provider is left that mails may go to: they wait, and none is lost."""
    enabled = [entry for entry in entries if entry.enabled]
    if any(entry.breaker != "open" for entry in enabled):
        return ""
    names = ", ".join(entry.spec.name for entry in enabled)
    return f"every enabled provider is forced open ({names}): no mail is sent, all wait, until one is set to auto"
