"""One run of `thyroid-screen`: every image screened, every result written as it comes."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from thyroid_client._output import REPORT_NAME, OutputFolder, no_files
from thyroid_client._pictures import Pictures, report_pictures
from thyroid_client._sources import encoded_image
from thyroid_client.client import ThyroidClient
from thyroid_client.errors import ImageUnreadable
from thyroid_client.report import Report, RunFacts
from thyroid_client.results import Files, result_line
from thyroid_client.screening import Screening, ScreenResult
from thyroid_pipeline.contract import Decision
from thyroid_pipeline.decode import decode_image
from thyroid_pipeline.errors import ImageError


@dataclass
class Totals:
    """What became of the images of a run.

    Attributes:
        planned: How many there were.
        decisions: How many were screened, by decision.
        failures: How many failed, by the error's kind.
        duration_s: How long it took.
        interrupted: Whether Ctrl-C ended it early.
    """

    planned: int
    decisions: Counter[Decision] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0
    interrupted: bool = False

    @property
    def screened(self) -> int:
        """How many were screened."""
        return self.decisions.total()

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.failures.total()

    def count(self, result: ScreenResult) -> None:
        """Count one image."""
        if result.error is not None:
            self.failures[result.error.kind] += 1
        else:
            self.decisions[result.unwrap().decision] += 1


def screen_into_folder(
    client: ThyroidClient,
    images: Sequence[Path],
    output: OutputFolder,
    *,
    with_report: bool = True,
    on_result: Callable[[], object] = lambda: None,
) -> Totals:
    """Screen files and write `results.jsonl`, masks, overlays and the report.

    Ctrl-C ends it early: what is in flight is cancelled, what is done is kept and reported. An
    image whose result is being written is written to its end, so that the report, the lines and
    the pictures always tell of the same images.

    Args:
        client: Asks the server.
        images: Files.
        output: Where the results go.
        with_report: Whether to write `report.html`.
        on_result: Called after each image.

    Returns:
        What became of them.

    Raises:
        OSError: The folder cannot be written to.
    """
    started, clock_s = datetime.now().astimezone(), time.perf_counter()
    totals = Totals(planned=len(images))
    versions: Mapping[str, str] = {}
    with Report(output.folder) as report:
        try:
            with contextlib.closing(client.screen_many(images)) as results:
                for result in results:
                    with _interrupts_later():
                        source = images[result.index]
                        _record(result, source, output, report if with_report else None)
                        totals.count(result)
                    if result.screening is not None:
                        versions = result.screening.model_versions
                    on_result()
        except KeyboardInterrupt:
            totals.interrupted = True
        totals.duration_s = time.perf_counter() - clock_s
        if with_report:
            facts = RunFacts(
                started=started,
                duration_s=totals.duration_s,
                address=client.address,
                model_versions=versions,
                client_version=version("thyroid-triton"),
                interrupted=totals.interrupted,
                planned=totals.planned,
            )
            report.write(output.folder / REPORT_NAME, facts)
    return totals


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let a Ctrl-C that comes within take effect at the end."""
    # An interrupt reaches the main thread alone; a handler that is not Python's cannot be put back.
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is None
    ):
        yield
        return
    came = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: came.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came.is_set():
            signal.raise_signal(signal.SIGINT)


def _record(
    result: ScreenResult, source: Path, output: OutputFolder, report: Report | None
) -> None:
    files, pictures = no_files(), None
    if result.screening is not None:
        files, pictures = _draw(
            result.index, source, result.screening, output, for_report=report is not None
        )
    line = result_line(result, files)
    output.write_line(line)
    if report is not None:
        report.add(line, pictures)


def _draw(
    index: int, source: Path, screening: Screening, output: OutputFolder, *, for_report: bool
) -> tuple[Files, Pictures | None]:
    files = no_files()
    files["mask_file"] = output.write_mask(index, source, screening)
    # The file is read again: keeping the bytes of all that is in flight would cost more. It may be
    # gone or another by now; the result stands without a picture.
    try:
        grey = decode_image(encoded_image(source))
    except (ImageUnreadable, ImageError):
        return files, None
    if grey.shape != screening.mask.shape:
        return files, None
    files["overlay_file"], files["evidence_file"] = output.write_overlays(
        index, source, screening, grey
    )
    return files, report_pictures(grey, screening) if for_report else None
