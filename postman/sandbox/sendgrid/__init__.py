"""SendGrid's manners: sending, looking up, events."""

from postman.sandbox.sendgrid.imitation import SendGrid

__all__ = ["SendGrid"]
