"""The fixture `inbox`, as a service's own tests use it."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from postman import Attachment, Mail, Producer
from postman.testing.inbox import Inbox

MAIL = '{"id": "m-1", "from": {"email": "a@mg.example.org"}, "to": [{"email": "b@example.org"}], "text": "x"}'


def order_mail(number: int, **more: object) -> Mail:
    return Mail.model_validate(
        {
            "id": f"order-{number}",
            "from": {"email": "shop@mg.example.org", "name": "The shop"},
            "to": [{"email": f"Customer{number}@example.org"}],
            "subject": f"Your order {number}",
            "text": "It is on its way.",
            **more,
        }
    )


def publish(*mails: Mail) -> None:
    """What a service does."""
    with Producer.from_env() as producer:
        for mail in mails:
            producer.publish(mail).result(5.0)


def test_a_mail_is_seen_as_its_recipients_would_see_it(inbox: Inbox) -> None:
    report = Attachment(filename="a.txt", content_type="text/plain", content=b"\x00\xff")
    publish(order_mail(1, tags=["orders"], metadata={"order": "1"}).model_copy(update={"attachments": (report,)}))

    [sent] = inbox.wait(1, to="customer1@EXAMPLE.org", subject="order 1", tag="orders")

    assert (sent.id, sent.subject, sent.text) == ("order-1", "Your order 1", "It is on its way.")
    assert (sent.from_.email, sent.from_.name, sent.provider) == ("shop@mg.example.org", "The shop", "sendgrid")
    assert [(each.filename, each.content) for each in sent.attachments] == [("a.txt", b"\x00\xff")]
    assert sent.metadata == {"order": "1"}
    assert inbox.sole() == sent


def test_each_test_has_an_inbox_of_its_own(inbox: Inbox) -> None:
    inbox.assert_none()
    assert (inbox.mails, inbox.refused) == ([], [])


async def test_it_serves_code_of_an_event_loop(inbox: Inbox) -> None:
    async with Producer.from_env() as producer:
        await asyncio.gather(*(producer.apublish(order_mail(number)) for number in range(5)))
    assert len(await inbox.async_wait(5)) == 5


def test_a_process_of_its_own_publishes_into_it(inbox: Inbox) -> None:
    mail = inbox.environ["POSTMAN_PROVIDERS"].replace("providers.toml", "mail.json")
    with open(mail, "w", encoding="utf-8") as file:  # noqa: PTH123 — as a service would
        file.write(MAIL)
    subprocess.run([sys.executable, "-m", "postman", "publish", mail], check=True, capture_output=True, env=os.environ)
    assert inbox.sole().id == "m-1"


def test_the_other_provider_takes_over(inbox: Inbox) -> None:
    inbox.provider("sendgrid").fail(status=503, times=1)
    publish(order_mail(1))
    assert inbox.sole().provider == "mailgun"


def test_a_lost_answer_sends_no_second_copy(inbox: Inbox) -> None:
    """The provider is asked, and has it."""
    inbox.provider("sendgrid").drop_answer()
    publish(order_mail(1, on_doubt="ask"))
    inbox.settle(timeout=15.0)
    assert [mail.id for mail in inbox.mails] == ["order-1"]


def test_a_refused_mail_is_told_with_the_reason(inbox: Inbox) -> None:
    inbox.provider("sendgrid").refuse()
    publish(order_mail(1))
    inbox.assert_none()
    [refused] = inbox.refused
    assert (refused.id, refused.reason) == ("order-1", "refused")
    assert "400" in refused.detail


def test_a_failing_assertion_says_what_was_seen_instead(inbox: Inbox) -> None:
    publish(order_mail(1))
    inbox.wait(1)
    with pytest.raises(AssertionError) as caught:
        inbox.wait(2, timeout=0.1)
    assert "2 mails were expected within 0.1 s, 1 came" in str(caught.value)
    assert "order-1: 'Your order 1' to customer1@example.org by sendgrid" in str(caught.value)
    with pytest.raises(AssertionError, match="no mail was expected, 1 were sent"):
        inbox.assert_none()


@pytest.mark.postman(deliver=False)
def test_without_delivery_it_keeps_what_was_published(inbox: Inbox) -> None:
    publish(order_mail(1), order_mail(2))
    assert [mail.id for mail in inbox.published] == ["order-1", "order-2"]
    assert [mail.id for mail in inbox.published] == ["order-1", "order-2"]
    assert inbox.mails == []


class TestInAClass:
    """As frameworks of classes have it."""

    def test_it_is_quick_after_the_first(self, inbox: Inbox) -> None:
        begun = time.perf_counter()
        publish(order_mail(1))
        inbox.wait(1)
        assert time.perf_counter() - begun < 5.0


PLUGIN_TEST = f"""
import json
import os
from postman import Mail, Producer

def test_one(inbox):
    with Producer.from_env() as producer:
        producer.publish(Mail.model_validate(json.loads({MAIL!r}))).result(5)
    assert inbox.sole().to[0].email == "b@example.org"

def test_nothing_is_left(tmp_path):
    assert not [name for name in os.environ if name.startswith("POSTMAN_")]

def test_it_fails(inbox):
    inbox.wait(1, timeout=0.05)
"""


def test_a_users_own_run_finds_the_fixture_and_leaves_nothing(pytester: pytest.Pytester) -> None:
    """Without any conftest; with warnings as errors, and no thread after the end."""
    pytester.makepyfile(PLUGIN_TEST)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    before = {thread.name for thread in threading.enumerate()}
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*1 mails were expected within 0.05 s, 0 came*"])
    after = {thread.name for thread in threading.enumerate()}
    assert not {name for name in after - before if name.startswith("postman")}


def test_what_the_documentation_shows_runs(pytester: pytest.Pytester) -> None:
    text = (Path(__file__).parents[3] / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    pytester.makepyfile("\n".join(blocks))
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.runpytest_inprocess("-W", "error", "-p", "no:cacheprovider").assert_outcomes(passed=5)
