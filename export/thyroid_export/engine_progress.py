"""Progress bars of a build, one for each phase that runs."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def make_monitor(trt: Any) -> Any:
    """A progress monitor that the library calls while it builds.

    Bars are shown on a terminal alone. The attribute `interrupted` says whether control-C ended
    the build: an exception must not leave a callback, the library would abort the process.

    Args:
        trt: The runtime's module.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # trt is known at run time only
        """Phases are nested; an inner bar stands below its parent's."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # as its bindings want it of a subclass
            self.interrupted = False
            self._bars: dict[str, tqdm[Any]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Called by the library."""
            try:
                self._bars[phase_name] = tqdm(
                    desc=phase_name,
                    total=num_steps,
                    position=len(self._bars),
                    leave=parent_phase is None,
                    file=sys.stderr,
                    disable=None,
                )
            except KeyboardInterrupt:
                self.interrupted = True

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Called by the library; False ends the build."""
            try:
                bar = self._bars.get(phase_name)
                if bar is not None:
                    bar.update(step + 1 - bar.n)
            except KeyboardInterrupt:
                self.interrupted = True
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            """Called by the library, and for every phase that an end cuts short."""
            try:
                bar = self._bars.pop(phase_name, None)
                if bar is not None:
                    bar.update((bar.total or bar.n) - bar.n)
                    bar.close()
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()
