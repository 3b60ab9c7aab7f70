"""What the commands share: their options, the server that they measure, the files they write."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from tritonclient.utils import InferenceServerException

from thyroid_benchmarks.floor import Floor
from thyroid_benchmarks.knee import Knee
from thyroid_benchmarks.measure import Measured, Subject
from thyroid_benchmarks.preparation import Images, make_subject, prepare_images
from thyroid_benchmarks.report import render_report
from thyroid_benchmarks.results import document, write_result
from thyroid_benchmarks.suite import SHORT
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.embedded import EmbeddedTriton
from thyroid_server.settings import ServerSettings

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = click.Path(file_okay=False, path_type=Path)
Command = Callable[..., Any]


@dataclass(frozen=True)
class Served:
    """Where the server that is measured answers.

    Attributes:
        grpc: host:port of its gRPC port.
        metrics: host:port of its metrics.
    """

    grpc: str
    metrics: str


@dataclass(frozen=True)
class Setting:
    """What is measured, with what, and where the results go.

    Attributes:
        model_repository: What is served.
        out: The folder of images and results.
        seed: Of images and order.
        images: How many; the suite has its own number.
        server: host:port of a running server; None starts one.
        metrics: host:port of its metrics; None for the usual port of the same host.
    """

    model_repository: Path
    out: Path
    seed: int
    images: int = SHORT.images
    server: str | None = None
    metrics: str | None = None

    def pool(self, images: int | None = None) -> Path:
        """Make images and right answers where they are missing; return their folder."""
        count = self.images if images is None else images
        return prepare_images(Images(self.out, count, self.seed), self.model_repository)

    def subject(
        self, address: str, pool: Path, rules: Rules | None = None, metrics: str | None = None
    ) -> Subject:
        """Read the images for a server."""
        made = make_subject(address, pool, self.model_repository, rules or Rules(), self.seed)
        return replace(made, metrics=metrics)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Served]:
        """Give the addresses of the server to measure; start one where none was named."""
        with contextlib.ExitStack() as stack:
            if self.server is None:
                self.out.mkdir(parents=True, exist_ok=True)
                settings = ServerSettings(
                    model_repository=self.model_repository,
                    profile=contract.CPU_PROFILE,
                    log_file=self.out / "server.log",
                )
                server = stack.enter_context(EmbeddedTriton(settings))
                served = Served(server.grpc_address, server.metrics_address)
            else:
                host = self.server.rpartition(":")[0]
                served = Served(self.server, self.metrics or f"{host}:{contract.METRICS_PORT}")
            try:
                yield served
            except InferenceServerException as error:
                raise click.ClickException(
                    f"{served.grpc} does not tell its statistics ({error.message()}); a running "
                    "Triton with its statistics open was wanted: see its log, and that --server is "
                    "its gRPC port"
                ) from error

    def write(
        self,
        subject: Subject,
        started: str,
        *,
        runs: Sequence[Measured] = (),
        beside: Sequence[Measured] = (),
        lowest: Floor | None = None,
        found: Knee[Measured] | None = None,
        parts: Mapping[str, Any] | None = None,
        page: bool = True,
    ) -> None:
        """Write result and latencies; and the page, and say where.

        Args:
            subject: What was measured.
            started: When.
            runs: The scenarios.
            beside: Runs that belong to a part; their latencies are kept as well.
            lowest: The floor.
            found: The knee.
            parts: Other parts of the result, see `results.document`.
            page: Whether the page is wanted: more is to come where it is not.
        """
        result = document(
            subject,
            started=started,
            checkout=CHECKOUT,
            runs=runs,
            floor=lowest,
            knee=found,
            parts=parts,
        )
        probes = () if found is None else (*found.probes, *found.confirmations)
        searched = [probe.measurement for probe in probes]
        path = write_result(self.out, result, [*runs, *searched, *beside])
        if page:
            html = path.with_name("report.html")
            html.write_text(render_report(result), encoding="utf-8")
            click.echo(f"wrote {path} and {html.name}")


@dataclass(frozen=True)
class Pace:
    """How long a run lasts, and what it is held to."""

    duration_s: float
    warmup_s: float
    bound_ms: float


_SERVER = click.option(
    "--server",
    help="host:port of a running server's gRPC port. It must serve --model-repository.  [default: "
    "start one, on free ports]",
)
_METRICS = click.option(
    "--metrics",
    help=f"host:port of its metrics.  [default: {contract.METRICS_PORT} of the same host]",
)
_REPOSITORY = click.option(
    "--model-repository", type=FOLDER, default=CHECKOUT / "model_repository", show_default=False
)
_OUT = click.option("--out", type=FOLDER, default=Path("runs/benchmarks"), show_default=True)
_IMAGES = click.option("--images", type=click.IntRange(1), default=SHORT.images, show_default=True)
_SEED = click.option("--seed", type=click.IntRange(0), default=1, show_default=True)


def setting_options(*, server: bool = True, images: bool = True) -> Callable[[Command], Command]:
    """Give a command the options of `Setting`, and the setting as its argument `setting`.

    Args:
        server: Whether it measures a server that may run already.
        images: Whether the number of images is its user's to choose.
    """
    options = [_REPOSITORY, _OUT, *([_IMAGES] if images else []), _SEED]
    return _gathered("setting", Setting, [*([_SERVER, _METRICS] if server else []), *options])


def pace_options(
    duration_s: float = 30.0, warmup_s: float = 3.0, bound_ms: float = 1000.0
) -> Callable[[Command], Command]:
    """Give a command the options of `Pace` with these defaults, and its argument `pace`."""
    above = click.FloatRange(1)
    return _gathered(
        "pace",
        Pace,
        [
            click.option("--duration-s", type=above, default=duration_s, show_default=True),
            click.option(
                "--warmup-s", type=click.FloatRange(0), default=warmup_s, show_default=True
            ),
            click.option("--bound-ms", type=above, default=bound_ms, show_default=True),
        ],
    )


def _gathered(
    name: str, kind: type[Setting | Pace], options: Sequence[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Gather the values of some options into one argument."""
    names = {field.name for field in fields(kind)}

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def gathering(**values: Any) -> Any:
            own = {field: values.pop(field) for field in names & values.keys()}
            return function(**values, **{name: kind(**own)})

        command: Command = gathering
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def now() -> str:
    """Return the time as ISO 8601, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
