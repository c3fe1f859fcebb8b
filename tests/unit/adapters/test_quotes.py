"""A provider's words about a mail: the reason stays, what it quotes of the mail goes."""

import time

import pytest

from postman.adapters._quotes import without_quotes
from postman.core.mail import Mail

MAIL = Mail.model_validate(
    {
        "id": "m-1",
        "from": {"email": "billing@example.org", "name": "Crema & Sons"},
        "to": [{"email": "jo.rivera@example.net", "name": "Jo Rivera"}],
        "subject": "Your invoice of  May",
        "text": "Dear Jo,\nyour balance is 1,204.50 and was due on the first of May.\nYours",
        "html": "<p>Dear Jo, your balance is <b>1,204.50</b></p>",
        "headers": {"X-Customer": "customer 4711"},
        "metadata": {"order": "o-99182", "a": "it"},
        "attachments": [{"filename": "rivera-may.pdf", "content_type": "application/pdf", "content": "AAAA"}],
    }
)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("the subject 'Your invoice of May' is spam", "the subject '[subject]' is spam"),
        ("YOUR INVOICE OF MAY: refused", "[subject]: refused"),
        ("no such user: jo.rivera", "no such user: [address]"),
        ("Jo Rivera may not be written to", "[name] may not be written to"),
        ("custom arg o-99182 and customer 4711", "custom arg [metadata] and [header]"),
        ("rivera-may.pdf is a virus", "[attachment] is a virus"),
        ("bad content near 'balance is 1,204.50 and was due on the'", "bad content near '[text]'"),
        ("bad tag in 'your balance is <b>1,204.50</b></p>' (line 1)", "bad tag in '[html]' (line 1)"),
        ("it is too large: the from address does not match a verified sender", None),
        ("billings are off", None),
        ("", None),
    ],
)
def test_what_is_quoted_goes_and_the_reason_stays(said: str, kept: str | None) -> None:
    """The word "it" is a value of this mail's metadata, and of every sentence: too short to tell anything."""
    assert without_quotes(said, MAIL) == (said if kept is None else kept)


def test_a_large_mail_is_looked_through_quickly() -> None:
    """Two megabytes of text, and words in which almost each passage is worth a look."""
    large = MAIL.model_copy(update={"text": "abcdefg " * 250_000, "html": ""})
    begun = time.process_time()
    found = without_quotes("gfedcba " * 25, large)
    assert found == "gfedcba " * 25
    assert time.process_time() - begun < 2.0
