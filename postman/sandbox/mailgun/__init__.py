"""Mailgun's manners: sending, looking up, events."""

from postman.sandbox.mailgun.imitation import Mailgun

__all__ = ["Mailgun"]
