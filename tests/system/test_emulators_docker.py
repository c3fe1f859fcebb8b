"""The emulators as containers: against a stand-in for the docker command, and for real where there is one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postman.testing.emulators import EmulatorError, Emulators
from postman.testing.emulators._docker import IMAGE, engine
from postman.testing.emulators._ports import answers
from postman.testing.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]

DOCKER = """#!{python}
import http.server, os, pathlib, signal, socket, subprocess, sys, threading

home = pathlib.Path(__file__).parent
verb, *rest = sys.argv[1:]
options = dict(word[2:].split("=") for word in rest if word.startswith("--") and "=" in word)
with (home / "calls").open("a") as calls:
    print(verb, *rest, file=calls)

def note(name):
    return (home / name).read_text().split()

if verb == "run" and "--detach" in rest:
    command = [sys.executable, __file__, verb, *(word for word in rest if word != "--detach")]
    subprocess.Popen(command, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
elif verb == "run":
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *_):
            pass
    if (home / "broken").exists():
        sys.exit("no space left")
    address, port, inner = options["publish"].split(":")
    server = http.server.HTTPServer((address, int(port or 0)), Handler)
    (home / options["name"]).write_text(f"{{os.getpid()}} {{server.server_port}}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read() if "--interactive" in rest else signal.pause()
elif verb == "port":
    if not (home / rest[0]).exists():
        sys.exit(1)
    print(f"127.0.0.1:{{note(rest[0])[1]}}")
elif verb in ("rm", "pause", "unpause"):
    if (home / rest[-1]).exists():
        number = dict(rm=signal.SIGKILL, pause=signal.SIGSTOP, unpause=signal.SIGCONT)[verb]
        os.kill(int(note(rest[-1])[0]), number)
"""

PARENT = """
import pathlib, signal, sys
from postman.testing.emulators import Emulators
emulators = Emulators.start(["pubsub"], environment={"PATH": sys.argv[1]}, log_dir=pathlib.Path(sys.argv[1]))
print(emulators.records["pubsub"].host, flush=True)
signal.pause()
"""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A directory for PATH with nothing in it but a docker; what it was asked stands in its file `calls`."""
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(python=sys.executable))
    program.chmod(0o755)
    return tmp_path


def _start(path: Path, *wanted: str) -> Emulators:
    return Emulators.start(wanted, log_dir=path, environment={"PATH": str(path)})


def test_the_container_is_published_on_this_machine_only(docker: Path) -> None:
    with _start(docker, "pubsub", "firestore") as emulators:
        assert all(answers(record.host) for record in emulators.records.values())

    runs = [call for call in (docker / "calls").read_text().splitlines() if call.startswith("run")]
    assert len(runs) == 2
    assert all("--publish=127.0.0.1::8080 " in call and "--rm " in call and IMAGE in call for call in runs)
    assert any("gcloud beta emulators pubsub start" in call for call in runs)
    assert any("gcloud emulators firestore start" in call for call in runs)


def test_a_container_is_paused_stopped_and_started_where_it_was(docker: Path) -> None:
    with _start(docker, "firestore") as emulators:
        host = emulators.records["firestore"].host
        emulators.pause("firestore")
        assert not answers(host, within=0.5)
        emulators.resume("firestore")
        assert answers(host)
        emulators.stop("firestore")
        assert not answers(host)
        emulators.restart("firestore")
        assert emulators.records["firestore"].host == host
        assert answers(host)
    assert not answers(host)


def test_a_container_ends_with_the_process_that_started_it(docker: Path) -> None:
    """By the end of its input: there is nobody left to remove it."""
    command = (sys.executable, "-c", PARENT, str(docker))
    with subprocess.Popen(command, cwd=docker, env=_environment(docker), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        host = parent.stdout.readline().strip()
        assert answers(host)
        parent.kill()

    wait_until_blocking(lambda: not answers(host), within=5)
    assert not any(call.startswith("rm") for call in (docker / "calls").read_text().splitlines())


def test_up_leaves_a_container_running_until_down(docker: Path) -> None:
    def command(verb: str) -> str:
        only = ("--only=pubsub",) if verb == "up" else ()
        arguments = (sys.executable, "-m", "postman.testing.emulators", verb, *only)
        return subprocess.check_output(arguments, cwd=docker, env=_environment(docker), text=True)

    shown = command("up")
    host = shown.splitlines()[0].partition("=")[2]
    assert answers(host)
    assert command("env") == shown

    assert command("down") == "stopped: pubsub\n"
    assert not answers(host)


def test_the_engine_says_why_a_container_does_not_start(docker: Path) -> None:
    (docker / "broken").touch()
    with _start(docker, "pubsub") as emulators:
        assert "Docker: docker run failed: no space left" in emulators.missing["pubsub"]


def test_a_docker_without_an_engine_is_told_from_none(tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to(shutil.which("false") or "/bin/false")

    with pytest.raises(EmulatorError, match="no Docker engine answers"):
        engine({"PATH": str(tmp_path)})
    with pytest.raises(EmulatorError, match="no docker on PATH"):
        engine({"PATH": str(tmp_path / "nowhere")})


def test_the_real_image_answers(tmp_path: Path) -> None:
    try:
        real = engine()
    except EmulatorError as error:
        pytest.skip(f"emulators as containers ({error})")
    if subprocess.run((real, "image", "inspect", IMAGE), capture_output=True, check=False).returncode:
        pytest.skip("emulators as containers (the image was not pulled)")
    (tmp_path / "docker").symlink_to(real)

    with Emulators.start(log_dir=tmp_path, environment={"PATH": str(tmp_path)}, within=120) as emulators:
        assert emulators.missing == {}
        assert all(answers(record.host) for record in emulators.records.values())


def _environment(docker: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
    return kept | {"PATH": str(docker), "JAVA_HOME": "", "CLOUDSDK_ROOT": "", "PYTHONPATH": str(ROOT)}
