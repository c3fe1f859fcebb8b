"""The suite of event sources, run for SendGrid and Mailgun."""

import pytest

from postman.adapters.mailgun_events import MailgunEvents
from postman.adapters.sendgrid_events import SendGridEvents
from postman.ports.events import EventSource
from postman.testing.events import EventSourceSuite
from tests.contract.event_posts import MailgunSender, SendGridSender


class TestSendGrid(EventSourceSuite):
    @pytest.fixture
    def sender(self) -> SendGridSender:
        return SendGridSender()

    @pytest.fixture
    def source(self, sender: SendGridSender) -> EventSource:
        return SendGridEvents("mail-eu", [sender.public_key])


class TestMailgun(EventSourceSuite):
    @pytest.fixture
    def sender(self) -> MailgunSender:
        return MailgunSender()

    @pytest.fixture
    def source(self, sender: MailgunSender) -> EventSource:
        return MailgunEvents("mail-eu", [sender.key])


class TestWhileKeysChange(EventSourceSuite):
    """Two keys are as good as one; posts of the old one are still on their way."""

    @pytest.fixture
    def sender(self) -> SendGridSender:
        return SendGridSender()

    @pytest.fixture
    def source(self, sender: SendGridSender) -> EventSource:
        return SendGridEvents("mail-eu", [SendGridSender().public_key, sender.public_key])
