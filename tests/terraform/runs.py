"""Terraform where Google's provider cannot be had: a stub of it knows every argument, and mocks answer for the cloud.

A run applies the module to mocked resources and returns the whole state, so that what would be made can be judged. The
stub comes from the folder `shared/tf-check` beside the project.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from postman.testing.waiting import wait_until_blocking

__all__ = ["CANARY", "CHECKER", "MODULE", "RefusedError", "Resource", "State", "Terraform", "need_tools", "stubbed"]

ROOT: Final = Path(__file__).parents[2]
MODULE: Final = ROOT / "terraform"
CHECKER: Final = ROOT.parent / "shared" / "tf-check"

CANARY: Final = "canary-of-a-key"
"""Every key of these tests begins with it; nothing that Terraform writes or prints may hold it."""

PROJECT_NUMBER: Final = "123456789012"

_ACCOUNTS: Final = ("console", "deliver", "events", "ingress", "pusher", "worker")
_OLDEST: Final = (1, 11)
_PATIENCE: Final = 60.0

Edit = Callable[[Path], None]


class RefusedError(Exception):
    """Terraform refused the configuration; the text has its words."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What Terraform would make."""

    address: str
    type: str
    name: str
    key: str
    values: Mapping[str, Any] = field(repr=False)
    needs: Sequence[str] = field(repr=False)
    """Addresses, without keys, of all that must be there before, and outlive it."""

    @property
    def container(self) -> Mapping[str, Any]:
        """The only container of a pool or service."""
        [template] = self.values["template"]
        [container] = template["containers"]
        found: Mapping[str, Any] = container
        return found

    @property
    def environment(self) -> Mapping[str, str]:
        return {each["name"]: each["value"] for each in self.container["env"]}


@dataclass(frozen=True, slots=True)
class State:
    """All that would be there after an apply."""

    resources: Sequence[Resource]
    outputs: Mapping[str, Any]
    told: str = field(repr=False)
    """All that Terraform wrote, the state included."""
    takes_project: frozenset[str] = field(repr=False)
    """Types of resources that have an argument `project`."""

    def of(self, type_: str, name: str = "") -> Sequence[Resource]:
        """Return the resources of a type, without its `google_`, or of these those of a name."""
        return [each for each in self.resources if each.type == f"google_{type_}" and name in ("", each.name)]

    def running(self) -> Sequence[Resource]:
        """Return pools and services."""
        return [
            each for each in self.resources if re.fullmatch(r"google_cloud_run_v2_(worker_pool|service)", each.type)
        ]


@dataclass(frozen=True, slots=True)
class Terraform:
    """Runs in copies of the module, below *folder*."""

    environment: Mapping[str, str]
    folder: Path

    def apply(self, variables: Mapping[str, object], edit: Edit | None = None) -> State:
        """Return what the module would make with *variables*, after *edit* of its copy; `RefusedError` if nothing."""
        copy = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns("tests", "examples", "*.md"))
        if edit:
            edit(copy)
        (copy / "run.tftest.hcl").write_text(_run_file(variables))
        self._terraform(copy, "init", "-backend=false", "-input=false")
        return _state_in(self._terraform(copy, "test", "-json", "-verbose"))

    def _terraform(self, folder: Path, *arguments: str) -> str:
        command = ("terraform", f"-chdir={folder}", arguments[0], "-no-color", *arguments[1:])
        environment = {**os.environ, **self.environment, "TF_DATA_DIR": f"{folder}.data"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE)
        if done.returncode:
            raise RefusedError(_complaints(done.stdout) or done.stdout + done.stderr)
        return done.stdout


def need_tools() -> None:
    """Skip the test, with the reason, where something is not there."""
    if shutil.which("terraform") is None:
        pytest.skip("Terraform (it is not on PATH)")
    answer = subprocess.run(
        ("terraform", "version", "-json"), capture_output=True, text=True, check=True, env=os.environ | _QUIET
    )
    version = json.loads(answer.stdout)["terraform_version"]
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        pytest.skip(f"Terraform ({version} is older than 1.11)")
    if not CHECKER.is_dir():
        pytest.skip("Terraform (the stub of Google's provider, shared/tf-check beside the project, is not there)")
    if importlib.util.find_spec("msgpack") is None:
        pytest.skip("Terraform (the stub of Google's provider needs msgpack)")


_QUIET: Final = {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}


@contextmanager
def stubbed(folder: Path) -> Iterator[Terraform]:
    """Give a Terraform whose provider is the stub, which is started here and ended after."""
    reattach = folder / "reattach"
    runs = folder / "runs"
    runs.mkdir()
    command = (sys.executable, str(CHECKER / "stub_provider.py"), str(CHECKER / "google-schema.json"), f"{folder}/s")
    with reattach.open("w") as written, subprocess.Popen(command, stdout=written) as stub:
        try:
            wait_until_blocking(reattach.read_text, within=_PATIENCE, what="the stub of Google's provider")
            yield Terraform({**_QUIET, "TF_REATTACH_PROVIDERS": reattach.read_text()}, runs)
        finally:
            stub.terminate()


def _run_file(variables: Mapping[str, object]) -> str:
    accounts = "\n".join(_account(name, str(variables["project"])) for name in _ACCOUNTS)
    given = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in variables.items())
    project = f'mock_data "google_project" {{\n defaults = {{ number = "{PROJECT_NUMBER}" }}\n }}'
    return (
        f'mock_provider "google" {{\n{project}\n{accounts}\n}}\n'
        f'run "all" {{\n  command = apply\n  variables {{\n{given}\n  }}\n}}\n'
    )


def _account(name: str, project: str) -> str:
    """Mocks make values at random; accounts must be told apart."""
    email = f"{name}@{project}.iam.gserviceaccount.com"
    return (
        f'override_resource {{\n target = google_service_account.this["{name}"]\n'
        f' values = {{ email = "{email}", member = "serviceAccount:{email}" }}\n}}'
    )


def _lines(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _complaints(output: str) -> str:
    found = (line["diagnostic"] for line in _lines(output) if line.get("type") == "diagnostic")
    return "\n".join(f"{each['summary']}: {each['detail']}" for each in found if each["severity"] == "error")


def _state_in(output: str) -> State:
    [state] = [line["test_state"] for line in _lines(output) if line.get("type") == "test_state"]
    [schemas] = state["provider_schemas"].values()
    return State(
        [_resource(each) for each in state["root_module"]["resources"] if each["mode"] == "managed"],
        {name: each["value"] for name, each in state["outputs"].items()},
        output,
        frozenset(
            name for name, schema in schemas["resource_schemas"].items() if "project" in schema["block"]["attributes"]
        ),
    )


def _resource(found: Mapping[str, Any]) -> Resource:
    return Resource(
        found["address"],
        found["type"],
        found["name"],
        str(found.get("index", "")),
        found["values"],
        found.get("depends_on", ()),
    )
