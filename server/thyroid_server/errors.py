"""What can go wrong around a server, as one tree.

```
ServerError
├── PreflightError        found before anything was started
│   ├── WheelError        the Triton wheel is missing or incomplete
│   ├── InterpreterError  the wheel's Python stub cannot run with this interpreter
│   ├── LibraryError      numpy is missing or the wrong one, or another library is missing
│   ├── PortError         an address cannot be had
│   ├── RepositoryError   the model repository is not one, or not for this server
│   ├── PlanError         a plan is missing, damaged, or built for another machine
│   └── TlsError          a TLS file is missing, unreadable, or does not fit the others
├── CudaError             the GPU, or what was given to it, fails
├── StartError            the server died or hung while it started
└── ReadinessError        the server runs, but an image did not go through it
```
"""

from __future__ import annotations


class ServerError(Exception):
    """Something is wrong with a server or its surroundings."""


class PreflightError(ServerError):
    """A check failed before anything was started.

    Attributes:
        came: What was found.
        wanted: What a server needs instead.
        mend: How to get there.
    """

    def __init__(self, came: str, *, wanted: str, mend: str) -> None:
        super().__init__(f"{came}\n  wanted: {wanted}\n  to mend it: {mend}")
        self.came = came
        self.wanted = wanted
        self.mend = mend


class WheelError(PreflightError):
    """The Triton wheel is missing or incomplete."""


class InterpreterError(PreflightError):
    """The wheel's Python stub cannot run with this interpreter."""


class LibraryError(PreflightError):
    """The stub would find no numpy, the wrong numpy, or not our packages."""


class PortError(PreflightError):
    """An address cannot be had."""


class RepositoryError(PreflightError):
    """The model repository is not one, or holds a model that this server cannot run."""


class TlsError(PreflightError):
    """A TLS file is missing, unreadable, or does not fit the others."""


class StartError(ServerError):
    """The server died or hung while it started; the message carries its last words."""


class ReadinessError(ServerError):
    """The server runs, but an image did not go through it."""
