"""Dead letters: one looked at, without its text; one, some, or all of a reason sent again or dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from postman.core.ids import is_mail_id
from postman.core.mail import Mail
from postman.core.parts import Address
from postman.core.shelf import Shelf
from postman.core.verdict import DeadReason
from postman.core.wire import decode_message
from postman.entrypoints.console.access import needs_act
from postman.entrypoints.console.acting.desk import DESK, Form, acted, form_of, prepared
from postman.entrypoints.console.acting.jobs import Job
from postman.entrypoints.console.acting.progress import job_url
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import PARTS, Values
from postman.entrypoints.console.stores import Stores
from postman.entrypoints.console.words import masked, plural
from postman.entrypoints.operating.deadletters import drop_letters, opened_letters, replay_letters
from postman.entrypoints.operating.words import checked_why
from postman.errors import InvalidMailError
from postman.runtime.deadletters import Choice, DeadLetter

__all__ = ["letter_routes"]

_ACTS: Final[Mapping[str, str]] = {"replay": "Send again", "drop": "Drop for good"}
_MOST_IDS: Final = 200
_PER_PAGE: Final = 100
_MOST_SHOWN: Final = 20
_UNREAD: Final = frozenset({DeadReason.POISON, DeadReason.MALFORMED})
"""Reasons of letters that are not read here: they could not be, or did harm."""
_HOME: Final = "/acts/dead"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which letters a form means."""

    act: str
    ids: tuple[str, ...]
    reason: str

    @property
    def choice(self) -> Choice:
        return Choice(ids=frozenset(self.ids), reason=self.reason)

    @property
    def words(self) -> str:
        """Return in words which letters are meant."""
        if self.ids:
            return f"the dead letter of {self.ids[0]}" if len(self.ids) == 1 else f"{len(self.ids)} dead letters"
        return (
            f"all dead letters with the reason {self.reason.replace('_', ' ')}" if self.reason else "all dead letters"
        )


def letter_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [
        web.get(_HOME, _choose),
        web.get(f"{_HOME}/letter", _show),
        web.get(f"{_HOME}/confirm", _confirm),
        web.post(f"{_HOME}/confirm", _confirm),
        web.post(_HOME, _act),
    ]


async def _choose(request: web.Request) -> web.Response:
    """List letters to choose from, as far as the ledger can list them."""
    needs_act(request)
    shelves = request.app[PARTS].stores.shelves
    counts = await shelves.counts() if shelves else Known[Mapping[str, int]]()
    reasons = {shelf: count for shelf, count in sorted((counts.value or {}).items()) if _reason_of(shelf) and count}
    asked = request.query.get("reason", "")
    reason = asked if asked in reasons else max(reasons, key=lambda each: reasons[each], default="")
    listing = await shelves.page(reason, request.query.get("after", ""), _PER_PAGE) if shelves and reason else Known()
    values = {
        "is_listed": shelves is not None,
        "known": listing if reason else counts,
        "reasons": reasons,
        "reason": reason,
        "dead_reason": _reason_of(reason) if reason else "",
        "records": listing.value.records if listing.value else (),
        "after": listing.value.after if listing.value else "",
        "all_reasons": [str(each) for each in DeadReason],
    }
    return prepared(request, "act_dead.html", values, current="dead")


async def _show(request: web.Request) -> web.Response:
    """Show one letter: why it is there, who it is to by halves, how large it is; never what it says."""
    needs_act(request)
    mail_id = request.query.get("id", "")
    if not is_mail_id(mail_id):
        raise web.HTTPNotFound(text="This can be no id of a mail.")
    stores = request.app[PARTS].stores
    found = await stores.knowledge.ask(("letter", mail_id), lambda: _find(stores, Choice(ids=frozenset({mail_id}))))
    values = {"mail_id": mail_id, "known": found, "letters": [_document(each) for each in found.value or ()]}
    return prepared(request, "act_letter.html", values, current="dead")


async def _confirm(request: web.Request) -> web.Response:
    """Say what would be done, to how many, and ask. Many chosen ids come by a post: a URL could not hold them."""
    needs_act(request)
    chosen = _chosen(form_of(await request.post()) if request.method == "POST" else Form(request.query))
    values = {
        "act": chosen.act,
        "ids": chosen.ids,
        "reason": chosen.reason,
        "words": chosen.words,
        "verb": _ACTS[chosen.act],
        "known": await _count(request.app[PARTS].stores, chosen),
        "back": f"{_HOME}?{urlencode({'reason': chosen.reason})}" if chosen.reason else _HOME,
    }
    return prepared(request, "act_confirm.html", values, current="dead")


async def _act(request: web.Request) -> web.Response:
    stores, jobs = request.app[PARTS].stores, request.app[DESK].jobs

    async def begin(form: Form, by: str) -> tuple[str, str]:
        chosen, why = _chosen(form), checked_why(form.get("why", "").strip(), "why")

        async def work(job: Job) -> str:
            return await _work(stores, chosen, job, by=by, why=why)

        what = f"{_ACTS[chosen.act]}: {chosen.words}"
        return job_url(jobs.start(f"dead_{chosen.act}", what, by=by, work=work)), ""

    return await acted(request, "dead", _HOME, begin)


async def _work(stores: Stores, chosen: _Chosen, job: Job, *, by: str, why: str) -> str:
    settings, told = stores.settings, job.progress.tell
    if chosen.act == "drop":
        count = await drop_letters(settings, chosen.choice, by=by, why=why, told=told)
        return f"{plural(count, 'dead letter')} dropped."
    ends = await replay_letters(settings, chosen.choice, by=by, why=why, told=told)
    held = f" {ends.held} are being dead-lettered at this moment: try again in a minute." if ends.held else ""
    already = f" {ends.already_sent} had been sent already, and were only dropped." if ends.already_sent else ""
    return f"{plural(ends.published, 'mail')} sent back to their shards.{already}{held}"


def _chosen(form: Form) -> _Chosen:
    """Return what a form means; 400 for what no form of ours says."""
    act, ids, reason = form.get("act", ""), tuple(form.getall("id", [])), form.get("reason", "")
    if act not in _ACTS:
        raise web.HTTPBadRequest(text="Say whether to send them again, or to drop them.")
    if len(ids) > _MOST_IDS or not all(map(is_mail_id, ids)):
        raise web.HTTPBadRequest(text=f"At most {_MOST_IDS} mails are chosen at a time, by their ids.")
    if not ids and not reason and form.get("all", "") != "yes":
        raise web.HTTPBadRequest(text="Choose some dead letters first.")
    return _Chosen(act, ids, "" if ids else reason)


async def _count(stores: Stores, chosen: _Chosen) -> Known[int]:
    """Return how many letters are meant; the ledger's count where it has one, since the letters are many."""
    if chosen.ids:
        return Known(len(chosen.ids), stores.clock.time())
    counts = await stores.counts()
    if counts is None or not counts.is_known:
        return await stores.knowledge.ask(("letters", chosen.reason), lambda: _number(stores, chosen.choice))
    found = [(_reason_of(shelf), number) for shelf, number in (counts.value or {}).items()]
    total = sum(number for reason, number in found if reason and chosen.reason in ("", reason))
    return Known(total, counts.at, counts.problem)


def _reason_of(shelf: str) -> str:
    """Return the reason of the dead letters that lie on *shelf*; empty for mails that are not dead."""
    reason = Shelf(shelf).dead_reason if shelf in set(Shelf) else None
    return str(reason or "")


async def _number(stores: Stores, choice: Choice) -> int:
    return len(await _find(stores, choice))


async def _find(stores: Stores, choice: Choice) -> Sequence[DeadLetter]:
    async with opened_letters(stores.settings) as letters:
        return await letters.find(choice)


def _document(letter: DeadLetter) -> Values:
    return {"letter": letter, "fields": _fields(letter), "attributes": sorted(letter.message.attributes)}


def _fields(letter: DeadLetter) -> Sequence[tuple[str, str]]:
    """Return what may be shown of the mail: names, kinds and sizes, addresses by halves."""
    if letter.reason in _UNREAD:
        return [("Mail", "it is not read here: that failed before, or did harm")]
    try:
        mail = decode_message(letter.message)
    except InvalidMailError as error:
        return [("Mail", f"it cannot be read: {error.field or 'the whole'} is wrong")]
    return [(name, value) for name, value in _parts(mail) if value]


def _parts(mail: Mail) -> Sequence[tuple[str, str]]:
    attachments = ", ".join(f"{each.content_type} ({plural(len(each.content), 'byte')})" for each in mail.attachments)
    return [
        ("From", masked(mail.from_.email)),
        *((name, _listed([each.email for each in addresses])) for name, addresses in _addressed(mail)),
        ("Subject", plural(len(mail.subject), "character")),
        ("Text", plural(len((mail.text or "").encode()), "byte") if mail.text else ""),
        ("HTML", plural(len((mail.html or "").encode()), "byte") if mail.html else ""),
        ("Headers", ", ".join(f"{name}: •••" for name in mail.headers)),
        ("Attachments", attachments),
        ("On doubt", str(mail.on_doubt)),
        ("Expires", str(mail.expires_at or "")),
    ]


def _addressed(mail: Mail) -> Sequence[tuple[str, Sequence[Address]]]:
    return [("To", mail.to), ("Cc", mail.cc), ("Bcc", mail.bcc), ("Reply to", mail.reply_to)]


def _listed(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - _MOST_SHOWN} more" if len(addresses) > _MOST_SHOWN else ""
    return ", ".join(map(masked, addresses[:_MOST_SHOWN])) + more
