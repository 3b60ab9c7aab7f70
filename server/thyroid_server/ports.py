"""Takes the ports that a server will listen on, and holds them until it does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from thyroid_server.errors import PortError

_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Endpoint:
    """One address to listen on.

    Attributes:
        name: What it is for, in messages.
        address: An IPv4 address.
        port: 0 asks for a free one.
    """

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def resolve(host: str) -> str:
    """The IPv4 address of a host; Triton's HTTP front takes no names and no IPv6.

    Raises:
        PortError: It has none.
    """
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise PortError(
            f"the host {host!r} has no IPv4 address: {error}",
            wanted="an IPv4 address of this machine, or a name of it",
            mend="--host 127.0.0.1 for this machine only, --host 0.0.0.0 for every network",
        ) from error


class PortReservation:
    """Holds ports, so that nobody else gets them while the server loads its models.

    Triton opens its ports last, seconds after its start. A socket that is bound but does not
    listen keeps a port from everybody who asks for any free one and from every outgoing
    connection, but not from a listener that sets SO_REUSEADDR, as all of Triton's do.

    Attributes:
        endpoints: As asked for, in that order, with a number for every port.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        """Take the ports.

        Raises:
            PortError: One of them cannot be had.
        """
        with ExitStack() as stack:
            taken: list[Endpoint] = []
            for endpoint in endpoints:
                held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _bind(held, endpoint)
                port = held.getsockname()[1]
                for other in taken:
                    if other.port == port:
                        raise PortError(
                            f"the {endpoint.name} and the {other.name} port are both {port}",
                            wanted="three different ports",
                            mend="give another, or 0 for any free one",
                        )
                taken.append(Endpoint(endpoint.name, endpoint.address, port))
            self.endpoints = tuple(taken)
            self._stack = stack.pop_all()

    def __enter__(self) -> PortReservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the ports go; a server that listens by then keeps them."""
        self._stack.close()


def _bind(held: socket.socket, endpoint: Endpoint) -> None:
    if not 0 <= endpoint.port <= _LARGEST_PORT:
        raise PortError(
            f"the {endpoint.name} port is {endpoint.port}",
            wanted=f"0 to {_LARGEST_PORT}",
            mend="give another, or 0 for any free one",
        )
    try:
        held.bind((endpoint.address, endpoint.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            came = f"the {endpoint.name} port {endpoint.port} on {endpoint.address} is taken"
            mend = (
                f"see by whom: `ss -ltnp 'sport = :{endpoint.port}'`; or give another port, or 0 "
                "for any free one"
            )
        elif error.errno == errno.EACCES:
            came = f"the {endpoint.name} port {endpoint.port} is reserved for privileged users"
            mend = "give a port of 1024 or above"
        else:
            came = f"cannot listen on {endpoint}: {error.strerror}"
            mend = "give --host an address of this machine"
        raise PortError(came, wanted=f"a free port for {endpoint.name}", mend=mend) from error
