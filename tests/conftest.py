"""What every test may ask for, and the last lines of a run: what could not be exercised."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

pytest.register_assert_rewrite("postman.testing")

from postman.testing.emulators import (  # noqa: E402 — after the suites were registered
    DEFAULT_PROJECT,
    Emulators,
    Service,
    is_installed,
)

gc.disable()  # until all tests are collected: thousands of them are no garbage

_UNIT = Path(__file__).parent / "unit"
_ON_EMULATORS = {"emulators", "pubsub", "firestore"}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("POSTMAN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """The emulators named by the environment, or our own; either way the environment names them during the run."""
    with (
        Emulators.start(log_dir=tmp_path_factory.mktemp("emulators")) as running,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in running.environment.items():
            environment.setenv(name, value)
        yield running


@pytest.fixture
def pubsub(emulators: Emulators) -> Emulators:
    """The emulators, with Pub/Sub among them; skips where it cannot be had."""
    return _with(Service.PUBSUB, emulators)


@pytest.fixture
def firestore(emulators: Emulators) -> Emulators:
    """The emulators, with Firestore among them; skips where it cannot be had."""
    return _with(Service.FIRESTORE, emulators)


@pytest.fixture
def project() -> str:
    """A Google Cloud project of this test alone; it exists on emulators only."""
    return f"{DEFAULT_PROJECT}-{token_hex(4)}"


@pytest.fixture
def prefix() -> str:
    """A prefix for topics and collections of this test alone."""
    return f"test-{token_hex(4)}"


def _with(service: Service, emulators: Emulators) -> Emulators:
    reason = emulators.missing.get(service)
    if reason is not None and os.environ.get("CI") == "true" and is_installed(service):
        pytest.fail(f"the {service.label} emulator is installed and did not start: {reason}")
    if reason is not None:
        pytest.skip(f"{service.label} emulator ({reason})")
    return emulators


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _choose(config, items)
    for item in items:
        if not _ON_EMULATORS.isdisjoint(getattr(item, "fixturenames", ())):
            if _UNIT in item.path.parents:
                raise pytest.UsageError(f"{item.nodeid} is a unit test and asks for emulators")
            item.add_marker("emulator")


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()


def _choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for this part of a run, where the environment says that it has two."""
    part = os.environ.get("ALONE")
    if part is None:
        return
    left_out = [item for item in items if (item.get_closest_marker("alone") is None) == (part == "only")]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"not exercised: {reason} [{count} skipped]")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return " ".join(text.removeprefix("Skipped: ").split())
