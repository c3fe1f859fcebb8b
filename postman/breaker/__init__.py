"""A circuit breaker that stands alone: standard library only, for any caller."""

from postman.breaker.breaker import CircuitBreaker, Permit, RejectedError, State
from postman.breaker.window import Window

__all__ = ["CircuitBreaker", "Permit", "RejectedError", "State", "Window"]
