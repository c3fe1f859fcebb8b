"""The workers as a fleet: what each says of itself, and what is to be thought of it."""

from postman.core.fleet.health import FleetJudgement, Health, Judgement
from postman.core.fleet.judgement import judge
from postman.core.fleet.past import Finished, Latency, Minute, ProviderMinute
from postman.core.fleet.reports import STOPPED, ProviderStanding, ProviderWork, WorkerReport, WorkWindow
from postman.core.fleet.rules import Rules

__all__ = [
    "STOPPED",
    "Finished",
    "FleetJudgement",
    "Health",
    "Judgement",
    "Latency",
    "Minute",
    "ProviderMinute",
    "ProviderStanding",
    "ProviderWork",
    "Rules",
    "WorkWindow",
    "WorkerReport",
    "judge",
]
