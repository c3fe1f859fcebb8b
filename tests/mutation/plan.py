"""Which tests judge which module: the quick ones, quickest first."""

from dataclasses import dataclass
from typing import Final

__all__ = ["GROUPS", "PLAN", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """One module to be mutated, by its path."""

    module: str
    tests: tuple[str, ...]
    only: tuple[str, ...] = ()
    """Names inside the module; none: all of it."""


_CORE: Final = "tests/unit/core"
_RUNTIME: Final = "tests/unit/runtime"
_ADAPTERS: Final = "tests/unit/adapters"

_PROTOCOL_TESTS: Final = (
    f"{_CORE}/test_protocol_edges.py",
    f"{_CORE}/test_protocol.py",
    f"{_CORE}/test_protocol_events.py",
    f"{_CORE}/test_protocol_model.py",
)
_ROUTER_TESTS: Final = tuple(
    f"{_RUNTIME}/test_{name}.py"
    for name in (
        *("router_edges", "router_learning", "router_telling", "router_limits"),
        *("failover", "failover_places", "failover_probes", "failover_lessons"),
        *("faults", "limits", "locality", "route", "failover_conservation"),
    )
)
_OUTCOME_TESTS: Final = (
    f"{_ADAPTERS}/test_outcomes_edges.py",
    f"{_ADAPTERS}/test_failures_edges.py",
    f"{_ADAPTERS}/test_sendgrid_outcomes.py",
    f"{_ADAPTERS}/test_mailgun_outcomes.py",
    f"{_ADAPTERS}/test_http_outcomes.py",
)

PLAN: Final = (
    Part("postman/core/protocol.py", _PROTOCOL_TESTS),
    Part("postman/core/doubt.py", (f"{_CORE}/test_doubt.py", f"{_CORE}/test_doubt_edges.py")),
    Part("postman/core/verdict.py", (f"{_CORE}/test_verdict_edges.py",)),
    Part("postman/runtime/failover/router.py", _ROUTER_TESTS),
    *(
        Part(f"postman/runtime/failover/{name}.py", (f"{_RUNTIME}/test_{name}.py", *_ROUTER_TESTS))
        for name in ("route", "limits", "faults", "locality")
    ),
    Part("postman/adapters/_outcomes.py", _OUTCOME_TESTS),
    Part("postman/adapters/sendgrid.py", _OUTCOME_TESTS),
    Part("postman/adapters/mailgun.py", _OUTCOME_TESTS),
    Part(
        "postman/adapters/_http.py",
        _OUTCOME_TESTS,
        only=("HttpClient.exchange", "HttpClient._failure", "_was_answered", "_FAILURES", "_NEVER_CONNECTED", "Reply"),
    ),
)

GROUPS: Final = {
    "ledger": tuple(part for part in PLAN if part.module.startswith("postman/core/")),
    "router": tuple(part for part in PLAN if part.module.startswith("postman/runtime/")),
    "classifiers": tuple(part for part in PLAN if part.module.startswith("postman/adapters/")),
}
