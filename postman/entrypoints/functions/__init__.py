"""postman as functions, served by the functions framework; needs `postman[functions]`."""

from postman.entrypoints.functions.main import deliver, events, ingress

__all__ = ["deliver", "events", "ingress"]
