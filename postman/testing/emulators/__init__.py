"""Google's Pub/Sub and Firestore emulators, found and started for a test or a demonstration.

Needs nothing but the standard library.
"""

from postman.testing.emulators._emulators import DEFAULT_PROJECT, Emulators
from postman.testing.emulators._sdk import is_installed
from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["DEFAULT_PROJECT", "EmulatorError", "Emulators", "Service", "is_installed"]
