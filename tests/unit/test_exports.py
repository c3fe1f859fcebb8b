"""The names that others build on can be imported, and bring nothing along that they do not need."""

import subprocess
import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize("package", ["postman", "postman.testing"])
def test_every_public_name_can_be_had(package: str) -> None:
    module = import_module(package)

    assert all(getattr(module, name).__name__ == name for name in module.__all__)
    assert not hasattr(module, "NoSuchName")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("postman", {"pydantic", "httpx", "aiohttp", "google.api_core", "grpc", "typer"}),
        ("postman.breaker", {"pydantic", "structlog", "httpx", "aiohttp", "google.api_core", "grpc"}),
        ("postman.core.mail", {"httpx", "aiohttp", "google.api_core", "grpc", "structlog"}),
        ("postman.runtime.worker", {"httpx", "aiohttp", "google.api_core", "grpc", "sqlite3"}),
        ("postman.testing.emulators", {"pytest", "pydantic", "httpx", "grpc"}),
        ("postman.sandbox.server", {"pydantic", "httpx", "google.api_core", "grpc"}),
    ],
)
def test_a_room_loads_only_what_it_needs(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert unwanted.isdisjoint(loaded)
