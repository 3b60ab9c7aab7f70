"""The embedded server: a real Triton as a context manager."""

from __future__ import annotations

import http.client
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from thyroid_pipeline.warmup import warmup_image
from thyroid_server.admin import random_admin_key
from thyroid_server.allocation import keeping_memory
from thyroid_server.command import embedded_arguments
from thyroid_server.core_pool import POOL_VARIABLE
from thyroid_server.cores import cores_to_share
from thyroid_server.errors import ReadinessError, ServerError, StartError
from thyroid_server.guarded import GuardedServer
from thyroid_server.guardian import Task, remove_traces
from thyroid_server.ports import Endpoint
from thyroid_server.preflight import Preparation, prepare
from thyroid_server.readiness import screen_once
from thyroid_server.settings import LogLevel, ServerSettings, TlsFiles
from thyroid_server.workspace import create_workspace

__all__ = ["EmbeddedTriton", "LogLevel", "Probe", "ServerSettings", "TlsFiles"]

Probe = Callable[[str, TlsFiles | None], None]
"""Sends something through the server at a gRPC address; raises what it likes if that fails."""

_POLL_S = 0.05
_HEALTH_TIMEOUT_S = 5.0
_LEAST_PROBE_S = 1.0  # even if loading the models has used up the time
_HTTP_OK = 200


class EmbeddedTriton:
    """One Triton server, which leaves nothing behind.

    ```
    with EmbeddedTriton(ServerSettings(model_repository=path, profile="cpu")) as server:
        client = InferenceServerClient(server.grpc_address)
    ```

    However it ends, even if this process is killed, no process of it remains, no file in
    /dev/shm and no temporary folder. It may be started again after it was stopped. Use it from
    one thread at a time.
    """

    def __init__(self, settings: ServerSettings, probe: Probe | None = None) -> None:
        """Take note of the settings; nothing is started yet.

        Args:
            settings: What to start.
            probe: What must succeed before the server counts as ready; it must come to an end by
                itself. None screens the warm-up image.
        """
        self.settings = settings
        self._probe = probe
        self._run: _Run | None = None

    @property
    def pid(self) -> int:
        """The process id of tritonserver."""
        return self._current().server.pid

    @property
    def http_address(self) -> str:
        """`host:port` of the HTTP front."""
        return str(self._current().http)

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC front."""
        return str(self._current().grpc)

    @property
    def metrics_address(self) -> str:
        """`host:port` of the Prometheus metrics, under the path `/metrics`."""
        return str(self._current().metrics)

    def __enter__(self) -> EmbeddedTriton:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Check, start, and wait until the probe has succeeded.

        Raises:
            PreflightError: A check failed; nothing was started.
            StartError: The server died or hung; nothing of it is left.
            ReadinessError: The probe failed; nothing of the server is left.
            ServerError: It runs already.
        """
        if self._run is not None:
            raise ServerError("the server runs already; stop() it before it is started again")
        deadline = time.monotonic() + self.settings.start_timeout_s
        preparation = prepare(self.settings)
        with preparation.ports:
            run = _Run(_start(self.settings, preparation), *preparation.ports.endpoints)
            try:
                self._await_health(run, deadline)
                self._await_probe(run, deadline)
                run.server.note_stubs()
            except BaseException:
                run.server.end(abandon=True)
                raise
            self._run = run

    def stop(self) -> None:
        """End the server and clear everything away; does nothing if it does not run.

        Triton does not drain an ensemble: images on their way through it fail. Stop sending
        first.
        """
        if self._run is not None:
            self._run.server.end(abandon=False)
            self._run = None

    def fault(self) -> str | None:
        """What is wrong with the running server, None where nothing is.

        Triton calls itself ready even when the process of a Python model has died, and never
        starts it again: each later request to that model fails.
        """
        server = self._current().server
        if end := server.how_it_ended():
            return end
        if lost := server.lost_stubs():
            return (
                f"the process of a Python model has died (process id {', '.join(map(str, lost))})"
                ", and Triton does not start it again\n"
                "  to mend it: restart the server; if it happens again, see what the process said "
                "last, or look for a lack of memory (`dmesg`)"
            )
        return None

    def _current(self) -> _Run:
        if self._run is None:
            raise ServerError("the server does not run; start() it first")
        return self._run

    def _await_health(self, run: _Run, deadline: float) -> None:
        # Triton opens the port of the metrics last, after it has called itself ready.
        while not (_answers(run.http, "/v2/health/ready") and _answers(run.metrics, "/metrics")):
            if end := run.server.how_it_ended():
                raise StartError(f"while it started, {end}")
            if time.monotonic() > deadline:
                raise StartError(
                    f"the server was not ready after {self.settings.start_timeout_s:g} s; "
                    f"it said:\n{run.server.log.last_words()}\n"
                    "  wanted: every model loaded by then\n"
                    "  to mend it: see which model hangs (--log-level info), or allow more time "
                    "(--start-timeout-s)"
                )
            time.sleep(_POLL_S)

    def _await_probe(self, run: _Run, deadline: float) -> None:
        try:
            if self._probe is not None:
                self._probe(str(run.grpc), self.settings.tls)
            else:
                left_s = max(deadline - time.monotonic(), _LEAST_PROBE_S)
                screen_once(str(run.grpc), warmup_image(), left_s, self.settings.tls)
        except Exception as error:
            raise ReadinessError(
                f"{error}\nthe server said:\n{run.server.log.last_words()}"
            ) from error


@dataclass(frozen=True)
class _Run:
    server: GuardedServer
    http: Endpoint
    grpc: Endpoint
    metrics: Endpoint


def _start(settings: ServerSettings, preparation: Preparation) -> GuardedServer:
    cores = cores_to_share(settings.cores)
    # Unique, so that its files in /dev/shm can be told from those of any other server.
    shm_prefix = f"thyroid_{secrets.token_hex(8)}_"
    workspace = create_workspace(
        preparation.wheel, settings.model_repository, settings.profile, cores
    )
    admin_key = random_admin_key() if settings.admin_key is None else settings.admin_key
    arguments = embedded_arguments(
        settings, workspace, preparation.ports.endpoints, shm_prefix, admin_key
    )
    task = Task(
        command=[str(preparation.wheel.server), *arguments],
        environment={
            **keeping_memory(preparation.environment),
            POOL_VARIABLE: str(workspace.cores),
        },
        current_folder=str(workspace.current_folder),
        workspace=str(workspace.folder),
        shm_prefix=shm_prefix,
        stop_timeout_s=settings.stop_timeout_s,
    )
    try:
        names = (str(workspace.models), str(settings.model_repository))
        return GuardedServer(task, settings.log_file, names)
    except BaseException:
        remove_traces(task["workspace"], task["shm_prefix"])
        raise


def _answers(endpoint: Endpoint, path: str) -> bool:
    """Whether a port is open, and what is asked there is well."""
    connection = http.client.HTTPConnection(
        endpoint.address, endpoint.port, timeout=_HEALTH_TIMEOUT_S
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status == _HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
