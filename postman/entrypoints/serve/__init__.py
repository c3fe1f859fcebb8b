"""`postman serve` over HTTP: mails in, what became of them out, and the providers' events."""

from postman.entrypoints.serve.app import Parts, make_app

__all__ = ["Parts", "make_app"]
