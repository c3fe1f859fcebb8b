"""An inbox for the tests of services that publish mails: what would have been sent, and faults on request.

pytest finds the fixture `inbox` by itself where postman is installed. Behind it
stand a queue and a ledger in a file of the test's own, a real worker, and the
sandbox's SendGrid and Mailgun, so that what a test sees went the whole way. See
docs/testing.md.
"""

from postman.testing.inbox.box import Inbox
from postman.testing.inbox.mails import Refused, SentMail
from postman.testing.inbox.providers import ProviderFaults

__all__ = ["Inbox", "ProviderFaults", "Refused", "SentMail"]
