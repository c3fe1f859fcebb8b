"""Documents that commands print and servers answer with."""

from postman.core.entry import Entry
from postman.core.story import evidence_of, story_of

__all__ = ["entry_document"]


def entry_document(mail_id: str, entry: Entry) -> dict[str, object]:
    """Return what the ledger knows of a mail; times in seconds since 1970, recipients as tags."""
    return {
        "id": mail_id,
        "state": str(entry.state),
        "provider": entry.provider,
        "message_id": entry.message_id,
        "evidence": evidence_of(entry),
        "reason": entry.reason,
        "since": entry.since,
        "attempts": entry.attempts,
        "lapses": entry.lapses,
        "token": entry.token,
        "dead_lettered": entry.parked,
        "history": [
            {
                "at": line.at,
                "event": line.what,
                "provider": line.provider,
                "detail": line.detail,
                "recipient": line.recipient,
            }
            for line in story_of(entry)
        ],
    }
