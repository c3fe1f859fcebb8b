"""The workers as a fleet: what each says of itself, and what is to be thought of it."""

from postman.core.fleet.health import FleetJudgement, Health, Judgement
from postman.core.fleet.judgement import judge
from postman.core.fleet.reports import STOPPED, ProviderStanding, ProviderWork, WorkerReport, WorkWindow
from postman.core.fleet.rules import Rules

__all__ = [
    "STOPPED",
    "FleetJudgement",
    "Health",
    "Judgement",
    "ProviderStanding",
    "ProviderWork",
    "Rules",
    "WorkWindow",
    "WorkerReport",
    "judge",
]
