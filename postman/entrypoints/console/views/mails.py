"""One mail: all that is known of it, and what will come of it."""

from collections.abc import Mapping

from postman.core.entry import Entry, State
from postman.core.ids import MailId, is_mail_id
from postman.core.story import evidence_of, story_of
from postman.entrypoints.backlog import duration
from postman.entrypoints.console.knowledge import Known
from postman.entrypoints.console.parts import Values, View
from postman.entrypoints.console.stores import Stores

__all__ = ["MAIL"]


async def _values(stores: Stores, ask: Mapping[str, str]) -> Values:
    text = ask.get("id", "")
    now = stores.clock.time()
    known: Known[Entry | None] = Known(None, now)
    if is_mail_id(text):
        known = await stores.entry(MailId(text))
    entry = known.value
    return {
        "now": now,
        "mail_id": text,
        "can_be": is_mail_id(text),
        "known": known,
        "entry": entry,
        "evidence": evidence_of(entry) if entry else "",
        "story": story_of(entry) if entry else [],
        "status": _status(known, text),
        "next": _next(entry, now) if entry else "",
        "has_recipients": bool(entry and any(each.recipient for each in story_of(entry))),
    }


def _status(known: Known[Entry | None], text: str) -> int:
    if known.value is not None:
        return 200
    return 404 if known.is_known or not is_mail_id(text) else 503


def _next(entry: Entry, now: float) -> str:
    """Say what comes of the mail if nobody does anything."""
    match entry.state:
        case State.SENT:
            return "It is done. It is never sent again."
        case State.FREE:
            return "It waits in its shard for a worker; it was not sent."
        case State.SENDING if entry.lease_ends > now:
            left = duration(entry.lease_ends - now)
            return (
                f"A worker is sending it. If it is not heard of for {left}, another one asks what became of the mail."
            )
        case State.SENDING:
            return "Its worker has not been heard of in time. The next one to get it first asks whether it was sent."
        case State.IN_DOUBT if entry.parked:
            return (
                "It may have been sent, and its owner chose not to risk a second copy. It lies among the dead letters."
            )
        case State.IN_DOUBT:
            return "It may have been sent. Its provider is asked; if that tells nothing, its owner's choice decides."
        case State.REFUSED if entry.parked:
            return "It will not be sent. It lies among the dead letters until somebody replays or drops it."
        case State.REFUSED:
            return "It will not be sent. A worker puts it among the dead letters when it gets it next."


MAIL = View("mail", "mail.html", _values)
