"""`thyroid-screen`: screens files and folders and leaves results, pictures and a report."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from tqdm import tqdm

from thyroid_client._address import DEFAULT_ADDRESS
from thyroid_client._output import REPORT_NAME, RESULTS_NAME, OutputFolder
from thyroid_client.client import ThyroidClient
from thyroid_client.decisions import READINGS, Reading
from thyroid_client.discover import find_images
from thyroid_client.errors import ThyroidClientError
from thyroid_client.options import Limits, Timeouts, Tls
from thyroid_client.run import Totals, screen_into_folder

EXIT_ALL_SCREENED = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2  # click's own code for wrong usage
EXIT_INTERRUPTED = 130  # as a shell reports a program ended by Ctrl-C


class _CannotBeginError(click.ClickException):
    """Nothing could be begun: as with wrong usage, the command has to be changed."""

    exit_code = EXIT_USAGE


class _CutShortError(click.ClickException):
    """Some images were screened and some could not be."""

    exit_code = EXIT_SOME_FAILED


_EPILOG = """\b
Exit code
  0    all images were screened
  1    some failed: results.jsonl and report.html say which and why
  2    wrong usage, no image found, or the server cannot be used
  130  ended by Ctrl-C: what was done until then is kept

Research use only: not a medical device, not for diagnosis.
"""


@click.command(
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for results, masks, overlays and report; an earlier run's are replaced.",
)
@click.option(
    "--server",
    default=DEFAULT_ADDRESS,
    metavar="ADDRESS",
    help="host:port of Triton's gRPC service; grpcs://host:port for TLS.",
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 1024),
    default=Limits.max_in_flight,
    metavar="N",
    help="How many images are with the server at once.",
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(0, min_open=True),
    default=Timeouts.request_s,
    metavar="SECONDS",
    help="For one image, retries included.",
)
@click.option("--tls-ca", type=click.Path(path_type=Path), help="PEM: who signed the server's.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="PEM: the client's.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM: its private key.")
@click.option("--no-report", is_flag=True, help="Do not write report.html.")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def main(
    context: click.Context,
    paths: tuple[Path, ...],
    *,
    out: Path,
    server: str,
    in_flight: int,
    timeout_s: float,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    no_report: bool,
    quiet: bool,
) -> None:
    """Screen thyroid ultrasound images on a Triton server.

    PATH… are image files, or folders that are searched with all below them.
    """
    try:
        images = find_images(paths, leave_out=out)
        client = ThyroidClient(
            server,
            timeouts=Timeouts(request_s=timeout_s),
            tls=_tls(tls_ca, tls_certificate, tls_key),
            limits=Limits(max_in_flight=in_flight),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        with client:
            totals = _screen(client, images, out, with_report=not no_report, quiet=quiet)
    except KeyboardInterrupt:
        context.exit(EXIT_INTERRUPTED)
    if not quiet:
        click.echo(_summary(totals, out, with_report=not no_report))
    if totals.interrupted:
        context.exit(EXIT_INTERRUPTED)
    context.exit(EXIT_SOME_FAILED if totals.failed else EXIT_ALL_SCREENED)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    if ca is None and certificate is None and key is None:
        return None
    return Tls(root_certificates=ca, certificate_chain=certificate, private_key=key)


def _screen(
    client: ThyroidClient, images: list[Path], out: Path, *, with_report: bool, quiet: bool
) -> Totals:
    try:
        # Before the folder is touched: a wrong address must not cost an earlier run's results.
        client.wait_until_ready(Timeouts.control_s)
    except ThyroidClientError as error:
        raise _CannotBeginError(str(error)) from error
    try:
        output = OutputFolder(out)
    except OSError as error:
        raise click.UsageError(
            f"{out} cannot be written to ({error.strerror}): give another folder to --out"
        ) from error
    # Shown on a terminal only, and not where it was asked to be quiet.
    bar = tqdm(total=len(images), unit="image", file=sys.stderr, disable=True if quiet else None)
    with output, bar:
        try:
            return screen_into_folder(
                client, images, output, with_report=with_report, on_result=bar.update
            )
        except OSError as error:
            raise _CutShortError(
                f"writing to {out} failed ({error.strerror}): results.jsonl holds what was done "
                "until then; make room and run again"
            ) from error


def _summary(totals: Totals, out: Path, *, with_report: bool) -> str:
    images_per_s = totals.screened / totals.duration_s if totals.duration_s else 0.0
    failures = ", ".join(f"{kind} {count}" for kind, count in totals.failures.most_common())
    rows = [
        ("images", f"{totals.planned}"),
        *((f"  {reading.title.lower()}", _count(totals, reading)) for reading in READINGS),
        ("  failed", f"{totals.failed}" + (f"  ({failures})" if failures else "")),
        ("time", f"{totals.duration_s:.1f} s, {images_per_s:.1f} images/s"),
        ("results", f"{out / RESULTS_NAME}"),
    ]
    if with_report:
        rows.append(("report", f"{out / REPORT_NAME}"))
    if totals.interrupted:
        rows.insert(0, ("interrupted", "what was done until then is kept"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _count(totals: Totals, reading: Reading) -> str:
    count = totals.decisions[reading.decision]
    return f"{count}" + (f"  ({reading.follows})" if count and reading.follows else "")
