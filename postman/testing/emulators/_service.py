"""What can be wanted, and what went wrong with it."""

from enum import StrEnum

__all__ = ["EmulatorError", "PortTakenError", "Service"]


class EmulatorError(RuntimeError):
    """An emulator cannot be had, or not be handled; the text says why."""


class PortTakenError(EmulatorError):
    """Another process was quicker at this port: take another one."""


class Service(StrEnum):
    """A Google service that has an emulator."""

    PUBSUB = "pubsub"
    FIRESTORE = "firestore"

    @property
    def label(self) -> str:
        return "Pub/Sub" if self is Service.PUBSUB else "Firestore"

    @property
    def variable(self) -> str:
        """The environment variable that makes the client libraries use the emulator."""
        return f"{self.name}_EMULATOR_HOST"

    @property
    def setting(self) -> tuple[str, str]:
        """The setting by which postman uses this service, and its value."""
        return ("POSTMAN_QUEUE", "pubsub:") if self is Service.PUBSUB else ("POSTMAN_LEDGER", "firestore:")
