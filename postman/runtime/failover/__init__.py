"""A provider made of providers: which takes the next mail, how much each may have, whose fault a failure is."""

from postman.runtime.failover.lineup import Lineup
from postman.runtime.failover.route import Leave, Route
from postman.runtime.failover.router import Failover

__all__ = ["Failover", "Leave", "Lineup", "Route"]
