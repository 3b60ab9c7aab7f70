"""What is done before any load, each in a process of its own: images, right answers, floor.

So torch and the phantoms leave nothing behind in the process that makes the load.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from thyroid_benchmarks.floor import Floor, measure_floor, prepare_cases
from thyroid_benchmarks.measure import Subject
from thyroid_benchmarks.pool import INDEX_FILE, read_pool, write_pool
from thyroid_benchmarks.reference_writing import write_references
from thyroid_benchmarks.references import read_references, weights_digest
from thyroid_benchmarks.verdict import Rules
from thyroid_pipeline import contract
from thyroid_server.cores import usable_cores

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Images:
    """Which images to send.

    Attributes:
        folder: Where pools are kept; each in a folder of its own, named by what made it.
        count: How many.
        seed: What they are made from.
    """

    folder: Path
    count: int
    seed: int

    @property
    def pool_folder(self) -> Path:
        """The folder of this pool."""
        return self.folder / f"pool-{self.count}-{self.seed}"


def prepare_images(images: Images, model_repository: Path) -> Path:
    """Make the pool and its right answers, where they are not there yet or of other networks.

    Returns:
        The pool's folder.
    """
    folder = images.pool_folder
    if not (folder / INDEX_FILE).is_file():
        in_a_process(write_pool, folder, images.count, images.seed)
    references = read_references(folder)
    if references is None or references.weights != weights_digest(model_repository):
        in_a_process(write_references, folder, model_repository, usable_cores())
    return folder


def make_subject(
    address: str, pool_folder: Path, model_repository: Path, rules: Rules, seed: int
) -> Subject:
    """Read images and right answers for a server that serves this model repository."""
    return Subject(
        address=address,
        pool=read_pool(pool_folder),
        references=read_references(pool_folder),
        weights=weights_digest(model_repository),
        rules=rules,
        seed=seed,
    )


def cropper_parameters(model_repository: Path) -> contract.CropperParameters:
    """Read the cropper's parameters from its config for the CPU profile."""
    return in_a_process(_cropper_parameters, model_repository)


def _cropper_parameters(model_repository: Path) -> contract.CropperParameters:
    # Here: its module imports torch.
    from thyroid_training.offline import read_cropper_parameters  # noqa: PLC0415

    return read_cropper_parameters(model_repository)


def floor_in_a_process(pool_folder: Path, model_repository: Path, cases: int, rounds: int) -> Floor:
    """Measure the floor; the server should not be running, or be idle."""
    return in_a_process(_floor, pool_folder, model_repository, cases, rounds)


def _floor(pool_folder: Path, model_repository: Path, cases: int, rounds: int) -> Floor:
    parameters = _cropper_parameters(model_repository)
    prepared = prepare_cases(read_pool(pool_folder), model_repository, cases, parameters)
    return measure_floor(prepared, model_repository, usable_cores(), parameters, rounds=rounds)


def in_a_process(function: Callable[..., ResultT], *arguments: object) -> ResultT:
    """Call a function of a module in a fresh interpreter and return what it returns or raises."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()
