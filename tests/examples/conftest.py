"""One cluster for all examples of a run, made when the first of them asks for it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from secrets import token_hex

import pytest

from postman.testing.emulators import DEFAULT_PROJECT, Emulators
from tests.examples.packages import installed_node_example
from tests.examples.scene import Scene, running_scene


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Emulators], Scene]]:
    """Makes the cluster once, on emulators that a test has found to be there."""
    with ExitStack() as stack:

        @cache
        def opened(emulators: Emulators) -> Scene:
            run = token_hex(4)
            made = running_scene(
                tmp_path_factory.mktemp("scene"),
                project=f"{DEFAULT_PROJECT}-{run}",
                prefix=f"examples-{run}",
                emulators=emulators.environment,
            )
            return stack.enter_context(made)

        yield opened


@pytest.fixture
def scene(pubsub: Emulators, firestore: Emulators, stage: Callable[[Emulators], Scene]) -> Scene:
    return stage(pubsub)


@pytest.fixture(scope="module")
def node_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_node_example(tmp_path_factory.mktemp("node"))
