"""A local SendGrid and Mailgun that answer as the real ones do, fail on request, and show what they took.

The sandbox judges the product, so it shares no code with it: it imports nothing of postman but the errors.
"""

from postman.sandbox.faults import Fault, FaultError, FaultKind, Traffic
from postman.sandbox.server import Sandbox
from postman.sandbox.settings import ProviderName, SandboxSettings, Tunables

__all__ = [
    "Fault",
    "FaultError",
    "FaultKind",
    "ProviderName",
    "Sandbox",
    "SandboxSettings",
    "Traffic",
    "Tunables",
]
