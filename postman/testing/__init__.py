"""What postman is tested with, shipped for those who write adapters: a suite for each port, fakes, faults, emulators.

The public names are loaded when they are first asked for: the suites need pytest, the keeper of the emulators nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postman.testing.backlog_suite import BacklogSuite
    from postman.testing.clock import FakeClock
    from postman.testing.documents_suite import DocumentsSuite
    from postman.testing.events import EventSourceSuite
    from postman.testing.grpc_proxy import GrpcProxy
    from postman.testing.layouts_suite import LayoutsSuite
    from postman.testing.ledger import LedgerSuite
    from postman.testing.monitoring_server import MonitoringServer
    from postman.testing.provider import FakeProvider, ProviderSuite
    from postman.testing.queue import QueueSuite
    from postman.testing.records_suite import RecordsSuite
    from postman.testing.roster_suite import RosterSuite
    from postman.testing.secret_server import SecretServer
    from postman.testing.secrets_suite import SecretsSuite
    from postman.testing.suppression_suite import SuppressionSuite
    from postman.testing.waiting import wait_until

__all__ = [
    "BacklogSuite",
    "DocumentsSuite",
    "EventSourceSuite",
    "FakeClock",
    "FakeProvider",
    "GrpcProxy",
    "LayoutsSuite",
    "LedgerSuite",
    "MonitoringServer",
    "ProviderSuite",
    "QueueSuite",
    "RecordsSuite",
    "RosterSuite",
    "SecretServer",
    "SecretsSuite",
    "SuppressionSuite",
    "wait_until",
]

_HOMES = {
    "BacklogSuite": "backlog_suite",
    "DocumentsSuite": "documents_suite",
    "EventSourceSuite": "events",
    "FakeClock": "clock",
    "FakeProvider": "provider",
    "GrpcProxy": "grpc_proxy",
    "LayoutsSuite": "layouts_suite",
    "LedgerSuite": "ledger",
    "MonitoringServer": "monitoring_server",
    "ProviderSuite": "provider",
    "QueueSuite": "queue",
    "RecordsSuite": "records_suite",
    "RosterSuite": "roster_suite",
    "SecretServer": "secret_server",
    "SecretsSuite": "secrets_suite",
    "SuppressionSuite": "suppression_suite",
    "wait_until": "waiting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
