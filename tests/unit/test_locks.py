"""The lock files name exact versions with their hashes, for the whole of the project, and nothing of one machine."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
REQUIREMENT = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[a-z0-9.!+]+)(?P<marker> ; [^\\/:]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?P<more> \\)?")


def _pins(lock: str) -> dict[str, str]:
    found = (REQUIREMENT.fullmatch(line) for line in (ROOT / lock).read_text().splitlines())
    return {pin["name"]: pin["version"] for pin in found if pin}


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _wanted(lock: str) -> list[str]:
    content = _project()
    project = content["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    if lock == RUNTIME:
        return [*project["dependencies"], *extras["gcp"], *extras["functions"], *content["build-system"]["requires"]]
    groups: dict[str, list[str]] = content["dependency-groups"]
    wanted = [*extras.values(), *groups.values()]
    return [*project["dependencies"], *(one for some in wanted for one in some)]


def _unmet(wanted: Iterable[str], pins: dict[str, str]) -> list[str]:
    requirements = [Requirement(text) for text in wanted]
    return [
        str(requirement)
        for requirement in requirements
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_lock_holds_nothing_but_pins_and_hashes(lock: str) -> None:
    """No address, no path and no option of the machine that made it."""
    lines = (ROOT / lock).read_text().splitlines()

    assert lines
    assert [line for line in lines if not REQUIREMENT.fullmatch(line) and not HASH.fullmatch(line)] == []


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_every_pin_has_a_hash(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()

    pairs = zip(lines, [*lines[1:], ""], strict=True)
    assert [pin for pin, after in pairs if REQUIREMENT.fullmatch(pin) and not HASH.fullmatch(after)] == []


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_lock_is_of_this_project_file(lock: str) -> None:
    """A dependency that was added or raised without `./emulator.sh lock` is named."""
    assert _unmet(_wanted(lock), _pins(lock)) == []


def test_what_runs_is_what_was_tested() -> None:
    """Every version of the runtime lock is also the one of the development lock."""
    assert _pins(RUNTIME).items() <= _pins(DEVELOPMENT).items()


def test_other_breakers_are_installed_to_compare_and_for_nothing_else() -> None:
    """The project does not lean on what it is compared with."""
    group = {canonicalize_name(Requirement(text).name) for text in _project()["dependency-groups"]["benchmarks"]}

    assert group <= _pins(DEVELOPMENT).keys()
    assert group.isdisjoint(_pins(RUNTIME))


def test_tools_of_development_are_not_installed_to_run() -> None:
    assert _pins(RUNTIME).keys().isdisjoint({"pytest", "mypy", "ruff", "hypothesis"})


def test_a_requirement_that_is_not_met_is_found() -> None:
    """The judge of the tests above can say no."""
    assert _unmet(["Absent>=1", "old>=2", "fine>=1"], {"old": "1.9", "fine": "1.0"}) == ["Absent>=1", "old>=2"]
