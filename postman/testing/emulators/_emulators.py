"""The emulators that somebody wants, however they can be had."""

import atexit
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from postman.testing.emulators import _docker, _sdk
from postman.testing.emulators._ports import answers
from postman.testing.emulators._server import ExternalServer, JavaServer, Record, Server
from postman.testing.emulators._service import EmulatorError, Service

__all__ = ["DEFAULT_PROJECT", "Emulators"]

DEFAULT_PROJECT = "demo-postman"
"""A project whose name begins with "demo-" can never reach a real one by mistake."""

_LIMIT = 30.0


class Emulators:
    """Running emulators, stopped at the end of the `with` block or of the process, whichever comes first.

    One that runs already is used and left alone; else the components of the
    Google Cloud SDK are started; else, where a Docker engine answers, Google's
    image. Several of these live side by side, also in one process. Not for use
    from several threads at once.
    """

    def __init__(self, servers: Mapping[Service, Server], missing: Mapping[Service, str], *, lasting: bool) -> None:
        self._servers = dict(servers)
        self.missing: Mapping[str, str] = {str(service): reason for service, reason in missing.items()}
        """The wanted ones that cannot be had, each with the reason of every way."""
        self._pid = os.getpid()
        if not lasting:
            atexit.register(self.close)

    @classmethod
    def start(
        cls,
        wanted: Iterable[str] = (Service.PUBSUB, Service.FIRESTORE),
        *,
        log_dir: Path = Path(".postman/emulators"),
        heap: str = "1g",
        lasting: bool = False,
        environment: Mapping[str, str] = os.environ,
        within: float = _LIMIT,
    ) -> Self:
        """Return once those *wanted* answer or are known to be `missing`.

        *heap* is the upper limit of each Java process, as after `-Xmx`. With
        *lasting* they outlive this process, and `records` says how to stop them.
        `EmulatorError` where the environment names an emulator that does not
        answer: silence there would hide that something else is being tested.
        """
        services = [_service(name) for name in wanted]
        servers, rest = _running_already(services, environment)
        search = _Search(log_dir.absolute(), heap, lasting, environment, within)
        with ThreadPoolExecutor(max_workers=max(1, len(rest))) as pool:
            found = dict(zip(rest, pool.map(search.bring_up, rest), strict=True))
        servers |= {service: server for service, server in found.items() if not isinstance(server, str)}
        missing = {service: reason for service, reason in found.items() if isinstance(reason, str)}
        return cls(servers, missing, lasting=lasting)

    @property
    def environment(self) -> dict[str, str]:
        """What client libraries and postman need in their environment to use these emulators, and nothing else."""
        hosts = {service.variable: server.host for service, server in self._servers.items()}
        return hosts | {"GOOGLE_CLOUD_PROJECT": DEFAULT_PROJECT}

    @property
    def settings(self) -> dict[str, str]:
        """What makes postman use these services, where nothing else was chosen."""
        return dict(service.setting for service in self._servers)

    @property
    def records(self) -> dict[str, Record]:
        """How to stop, from another process, each emulator that was started here."""
        return {str(service): server.record for service, server in self._servers.items() if server.record}

    def pause(self, name: str) -> None:
        """Freeze it as an outage would: connections stay open, nothing answers, nothing is lost."""
        self._server(name).pause()

    def resume(self, name: str) -> None:
        """End a pause; without one, nothing happens."""
        self._server(name).resume()

    def stop(self, name: str) -> None:
        """Kill it; what it held is lost, and connections to it are refused."""
        self._server(name).stop()

    def restart(self, name: str) -> None:
        """Start it again, empty, at the same address, stopping it first where that is still to do."""
        server = self._server(name)
        server.stop()
        server.start(within=_LIMIT)

    def close(self) -> None:
        """Stop all that was started here; again is fine, and a forked process stops nothing."""
        atexit.unregister(self.close)
        if os.getpid() == self._pid:
            for server in self._servers.values():
                if server.record:
                    server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _server(self, name: str) -> Server:
        service = _service(name)
        if service not in self._servers:
            raise EmulatorError(f"there is no {service.label} emulator: {self.missing.get(name, 'it was not wanted')}")
        return self._servers[service]


class _Search:
    """Ways to bring up an emulator, tried in turn."""

    def __init__(
        self, log_dir: Path, heap: str, lasting: bool, environment: Mapping[str, str], within: float
    ) -> None:  # fmt: skip
        self._log_dir = log_dir
        self._heap = heap
        self._lasting = lasting
        self._environment = environment
        self._within = within

    def bring_up(self, service: Service) -> Server | str:
        """Return *service* running, or why it cannot be had."""
        ways: Mapping[str, Callable[[Service], Server]] = {"components": self._java, "Docker": self._container}
        reasons = [f"environment: {service.variable} is not set"]
        for way, prepare in ways.items():
            try:
                server = prepare(service)
                server.start(within=self._within)
            except EmulatorError as error:
                reasons.append(f"{way}: {error}")
            else:
                return server
        return "; ".join(reasons)

    def _java(self, service: Service) -> Server:
        command = _sdk.component(service, heap=self._heap, environment=self._environment)
        return JavaServer(service, command, log_dir=self._log_dir, lasting=self._lasting)

    def _container(self, service: Service) -> Server:
        docker = _docker.engine(self._environment)
        return _docker.ContainerServer(service, docker, lasting=self._lasting)


def _running_already(
    services: Iterable[Service], environment: Mapping[str, str]
) -> tuple[dict[Service, Server], list[Service]]:
    servers: dict[Service, Server] = {}
    rest = []
    for service in services:
        host = environment.get(service.variable)
        if not host:
            rest.append(service)
        elif answers(host, within=5.0):
            servers[service] = ExternalServer(service, host)
        else:
            raise EmulatorError(
                f"{service.variable} is set to {host}, where no emulator answers: start it, or unset it"
            )
    return servers, rest


def _service(name: str) -> Service:
    try:
        return Service(name)
    except ValueError as error:
        raise EmulatorError(f"no emulator is named {name!r}: say {' or '.join(Service)}") from error
