"""The emulators for real: started, frozen, stopped, and gone with whoever started them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from postman.testing.emulators import EmulatorError, Emulators, Service, is_installed
from postman.testing.emulators._ports import Listener, answers, free_port, listener
from postman.testing.emulators._process import born, end, spawn
from postman.testing.emulators._sdk import component
from postman.testing.emulators._server import JavaServer
from postman.testing.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]
BARE = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
BARE["PYTHONPATH"] = str(ROOT)
"""The environment without emulators that run already; commands run this tree wherever they are started."""

MODULE = (sys.executable, "-m", "postman.testing.emulators")
ONLY = "--only=pubsub"

PARENT = """
import json, threading
from pathlib import Path
from postman.testing.emulators import Emulators
started = []
thread = threading.Thread(target=lambda: started.append(Emulators.start(log_dir=Path.cwd())))
thread.start()
thread.join()
print(json.dumps([record.pid for record in started[0].records.values()]), flush=True)
threading.Event().wait()
"""


@pytest.fixture
def _installed() -> None:
    for service in Service:
        if not is_installed(service, BARE):
            pytest.skip(f"start of the {service.label} emulator (no java, or the component is not installed)")


def _start(tmp_path: Path, *wanted: str) -> Emulators:
    return Emulators.start(wanted or tuple(Service), log_dir=tmp_path, environment=BARE)


def _command(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = BARE | variables
    return subprocess.run((*MODULE, *arguments), cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def _child(command: tuple[str, ...], cwd: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, cwd=cwd, env=BARE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.usefixtures("_installed")
class TestEmulators:
    def test_two_sets_live_side_by_side(self, tmp_path: Path) -> None:
        """Each has its own ports on this machine only, and the end of one leaves the other alone."""
        with _start(tmp_path) as first:
            with _start(tmp_path) as second:
                hosts = [record.host for record in (*first.records.values(), *second.records.values())]
                assert len(set(hosts)) == 4
                assert all(answers(host) and host.startswith("127.0.0.1:") for host in hosts)

            assert [answers(host) for host in hosts] == [True, True, False, False]
        assert not any(answers(host) for host in hosts)

    def test_environment_is_what_clients_need(self, tmp_path: Path) -> None:
        with _start(tmp_path, "pubsub") as emulators:
            host = emulators.records["pubsub"].host
            assert emulators.environment == {"PUBSUB_EMULATOR_HOST": host, "GOOGLE_CLOUD_PROJECT": "demo-postman"}
            assert emulators.missing == {}

    def test_one_that_runs_already_is_used_and_left_alone(self, tmp_path: Path) -> None:
        with _start(tmp_path, "pubsub") as owner:
            environment = BARE | owner.environment
            with Emulators.start(["pubsub"], log_dir=tmp_path, environment=environment) as guest:
                assert guest.environment == owner.environment
                for action in (guest.pause, guest.resume, guest.stop, guest.restart):
                    with pytest.raises(EmulatorError, match="is not ours"):
                        action("pubsub")

            assert answers(environment["PUBSUB_EMULATOR_HOST"])

    def test_pause_is_an_outage_and_resume_ends_it(self, tmp_path: Path) -> None:
        with _start(tmp_path, "pubsub") as emulators:
            host = emulators.records["pubsub"].host
            emulators.pause("pubsub")
            assert not answers(host, within=0.5)
            with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))):
                emulators.resume("pubsub")

            assert answers(host, within=5)

    def test_stop_refuses_connections_and_restart_brings_it_back_where_it_was(self, tmp_path: Path) -> None:
        """Also out of a pause."""
        with _start(tmp_path, "firestore") as emulators:
            before = emulators.records["firestore"]
            emulators.pause("firestore")
            emulators.stop("firestore")
            emulators.stop("firestore")
            assert not answers(before.host)

            emulators.restart("firestore")
            after = emulators.records["firestore"]
            assert answers(after.host)
            assert (after.host, after.born != before.born) == (before.host, True)

    def test_a_lost_race_for_a_port_is_run_again(self, tmp_path: Path) -> None:
        """The emulator of Pub/Sub stays alive, without a port, when another process is quicker."""
        java = component(Service.PUBSUB, heap="256m", environment=BARE)
        ports: list[int] = []
        with socket.socket() as rival:

            def command(port: int) -> tuple[str, ...]:
                ports.append(port)
                if len(ports) == 1:
                    rival.bind(("127.0.0.1", port))
                    rival.listen()
                return tuple(java(port))

            server = JavaServer(Service.PUBSUB, command, log_dir=tmp_path, lasting=False)
            server.start(within=30)
            try:
                assert len(ports) == 2
                assert server.host == f"127.0.0.1:{ports[1]}"
                assert answers(server.host)
            finally:
                server.stop()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
    def test_nothing_is_left_when_the_parent_is_killed(self, number: signal.Signals, tmp_path: Path) -> None:
        """Nor does the end of the thread that started them end them."""
        with _child((sys.executable, "-c", PARENT), tmp_path) as parent:
            pids = json.loads(_line(parent))
            births = {pid: born(pid) for pid in pids}
            assert len(pids) == 2
            assert all(births.values())

            parent.send_signal(number)
            try:
                wait_until_blocking(lambda: all(born(pid) != birth for pid, birth in births.items()), within=5)
            finally:
                for pid, birth in births.items():
                    end(pid, birth)


@pytest.mark.usefixtures("_installed")
class TestCommands:
    def test_run_gives_the_environment_and_passes_on_the_exit_status(self, tmp_path: Path) -> None:
        script = 'import os, sys; print(os.environ["PUBSUB_EMULATOR_HOST"]); sys.exit(7)'
        done = _command("run", ONLY, "--", sys.executable, "-c", script, cwd=tmp_path)

        assert done.returncode == 7
        assert done.stdout.startswith("127.0.0.1:")
        assert not answers(done.stdout.strip())

    def test_run_passes_on_signals(self, tmp_path: Path) -> None:
        """The command decides what they mean, and its status is the outcome."""
        script = 'trap "exit 9" TERM; echo ready; while :; do read -r -t 1 || :; done'
        with _child((*MODULE, "run", ONLY, "bash", "-c", script), tmp_path) as runner:
            assert _line(runner) == "ready"
            runner.send_signal(signal.SIGTERM)

            assert runner.wait(timeout=10) == 9

    def test_up_leaves_them_running_until_down(self, tmp_path: Path) -> None:
        up = _command("up", ONLY, cwd=tmp_path)
        try:
            again = _command("up", ONLY, cwd=tmp_path)
            shown = _command("env", cwd=tmp_path)
            variables = dict(line.removeprefix("export ").split("=") for line in shown.stdout.splitlines())
            assert (up.returncode, up.stderr) == (0, "")
            assert up.stdout == again.stdout == shown.stdout
            assert answers(variables["PUBSUB_EMULATOR_HOST"])
        finally:
            down = _command("down", cwd=tmp_path)

        assert down.stdout == "stopped: pubsub\n"
        assert not answers(variables["PUBSUB_EMULATOR_HOST"])
        assert _command("env", cwd=tmp_path).returncode == 1


class TestWithoutEmulators:
    """What is said where they cannot be had."""

    @pytest.mark.parametrize("host", [f"127.0.0.1:{free_port()}", "nonsense"], ids=["unused port", "nonsense"])
    def test_a_dead_host_in_the_environment_is_an_error(self, host: str, tmp_path: Path) -> None:
        """Starting another one instead would hide that the wrong thing is tested."""
        with pytest.raises(EmulatorError, match=f"PUBSUB_EMULATOR_HOST is set to {host}, where no emulator answers"):
            Emulators.start(log_dir=tmp_path, environment={"PUBSUB_EMULATOR_HOST": host})

    def test_each_way_says_why_not(self, tmp_path: Path) -> None:
        with Emulators.start(log_dir=tmp_path, environment={"PATH": str(tmp_path)}) as emulators:
            assert set(emulators.missing) == {"pubsub", "firestore"}
            assert emulators.missing["pubsub"] == (
                "environment: PUBSUB_EMULATOR_HOST is not set; components: no java on PATH; Docker: no docker on PATH"
            )
            with pytest.raises(EmulatorError, match="no Firestore emulator: environment"):
                emulators.pause("firestore")

    def test_a_component_that_does_not_start_shows_its_log(self, tmp_path: Path) -> None:
        (tmp_path / "java").write_text("#!/bin/sh\necho no memory today\nexit 4\n")
        (tmp_path / "java").chmod(0o755)
        jar = tmp_path / "platform/pubsub-emulator/lib/cloud-pubsub-emulator-1-all.jar"
        jar.parent.mkdir(parents=True)
        jar.touch()
        environment = {"PATH": str(tmp_path), "CLOUDSDK_ROOT": str(tmp_path)}

        with Emulators.start(["pubsub"], log_dir=tmp_path, environment=environment) as emulators:
            assert "it ended with status 4" in emulators.missing["pubsub"]
            assert "no memory today" in emulators.missing["pubsub"]

    def test_run_without_one_fails_unless_it_is_optional(self, tmp_path: Path) -> None:
        arguments = (sys.executable, "-c", "print('ran')")
        strict = _command("run", ONLY, *arguments, cwd=tmp_path, PATH=str(tmp_path), JAVA_HOME="")
        lenient = _command("run", ONLY, "--optional", *arguments, cwd=tmp_path, PATH=str(tmp_path), JAVA_HOME="")

        assert (strict.returncode, strict.stdout) == (1, "")
        assert (lenient.returncode, lenient.stdout) == (0, "ran\n")
        assert "no Pub/Sub emulator (environment: PUBSUB_EMULATOR_HOST is not set" in strict.stderr

    @pytest.mark.parametrize(
        ("command", "status"), [(["/nowhere/at-all"], 127), (["/"], 126), (["sh", "-c", "kill -KILL $$"], 137), ([], 2)]
    )
    def test_exit_status_is_as_in_a_shell(self, command: list[str], status: int, tmp_path: Path) -> None:
        with _answering() as host:
            assert _command("run", ONLY, *command, cwd=tmp_path, PUBSUB_EMULATOR_HOST=host).returncode == status

    def test_an_unknown_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EmulatorError, match="no emulator is named 'bigtable'"):
            Emulators.start(["bigtable"], log_dir=tmp_path, environment={})


class TestDown:
    def test_a_stranger_with_the_same_number_is_spared(self, tmp_path: Path) -> None:
        stranger = spawn(("sleep", "60"), log=tmp_path / "log", lasting=False)
        try:
            assert not end(stranger.pid, "another birth")
            _note(tmp_path, {"pubsub": {"host": "127.0.0.1:1", "pid": stranger.pid, "born": "another birth"}})

            assert _command("down", cwd=tmp_path).stdout == "nothing was running\n"
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    def test_damaged_notes_are_named(self, tmp_path: Path) -> None:
        _note(tmp_path, ["?"])
        done = _command("down", cwd=tmp_path)

        assert done.returncode == 1
        assert "emulators.json is damaged" in done.stderr


class TestPorts:
    def test_the_listener_is_told_from_a_stranger(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert listener(port, os.getpid()) is Listener.OURS
            assert listener(port, os.getppid()) is Listener.ANOTHER
        assert listener(port, os.getpid()) is Listener.NOBODY


def _note(directory: Path, content: Mapping[str, object] | list[str]) -> None:
    state = directory / ".postman/emulators.json"
    state.parent.mkdir()
    state.write_text(json.dumps(content))


@contextmanager
def _answering() -> Iterator[str]:
    """Stand in for an emulator that runs already."""
    port = free_port()
    server = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_blocking(lambda: answers(f"127.0.0.1:{port}"), within=10)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
