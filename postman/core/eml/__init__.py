"""Mail files: RFC 5322 and MIME, as other programs write them, read into a `Mail` or refused with a reason."""

from postman.core.eml.letter import mail_from_eml

__all__ = ["mail_from_eml"]
