"""What a night leaves behind: mails that were sent, refused, expired, held in doubt and suppressed."""

from typing import Final

from tests.console.stage import Stage
from tests.system.town import mail

__all__ = ["DOUBTFUL", "EXPIRED", "REFUSED", "SENT", "plant"]

SENT: Final = [f"sent-{number}" for number in range(24)]
REFUSED: Final = [f"refused-{number}" for number in range(5)]
EXPIRED: Final = ["expired-0", "expired-1"]
DOUBTFUL: Final = ["doubtful-0"]


def plant(stage: Stage) -> None:
    """Let all of them happen; returns when the dead letters are there."""
    stage.publish_some("sent", len(SENT))
    stage.publish(
        [mail(number) | {"id": each, "expires_at": "2020-01-01T00:00:00Z"} for number, each in enumerate(EXPIRED)]
    )
    stage.until("the mails were sent", lambda: stage.town.has_accepted(len(SENT)))
    for provider in ("sendgrid", "mailgun"):
        stage.fault(
            provider, [{"kind": "status", "status": 400, "body": '{"errors":[{"message":"odd"}]}', "only": "send"}]
        )
    stage.publish_some("refused", len(REFUSED))
    _wait_for_dead(stage, {*REFUSED, *EXPIRED})
    for provider in ("sendgrid", "mailgun"):
        stage.fault(provider, [{"kind": "reset", "only": "send"}, {"kind": "down", "only": "lookup"}])
    stage.publish([mail(7) | {"id": each, "on_doubt": "hold"} for each in DOUBTFUL])
    stage.until("the mail is in doubt", lambda: _is_in_doubt(stage))
    for provider in ("sendgrid", "mailgun"):
        stage.fault(provider, [])


def _wait_for_dead(stage: Stage, ids: set[str]) -> None:
    async def are_there() -> bool:
        listed = (await stage.town.run("dead", "list", "--json")).decode()
        return all(f'"{each}"' in listed for each in ids)

    stage.until("the dead letters are there", are_there)


async def _is_in_doubt(stage: Stage) -> bool:
    return b"in_doubt" in await stage.town.run("show", DOUBTFUL[0], "--json")
