"""The package under test and its clock; the helpers assert too, so let pytest say what they saw."""

import pytest

pytest.register_assert_rewrite(*(f"tests.unit.breaker.{name}" for name in ("kit", "machine", "pair")))

from tests.unit.breaker.kit import TRUE, Kit, Time  # noqa: E402 — rewritten as it is imported


@pytest.fixture
def kit() -> Kit:
    return TRUE


@pytest.fixture
def time() -> Time:
    return Time()
