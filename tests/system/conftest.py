"""What the tests of the whole system share."""

from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

import pytest

from postman.entrypoints.demo.cluster import Cluster, environment_for
from postman.testing.emulators import Emulators
from tests.system.town import Town


@pytest.fixture
async def town(pubsub: Emulators, firestore: Emulators, tmp_path: Path) -> AsyncIterator[Town]:
    environ, backends = environment_for(tmp_path, run=token_hex(3), shards=8)
    assert "emulators" in backends
    async with Cluster(tmp_path, environ) as cluster:
        town = Town(cluster, environ, tmp_path)
        await town.run("init")
        await cluster.start_sandbox()
        yield town
