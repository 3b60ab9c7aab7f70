"""Ports that cannot be had, and those that are held."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from thyroid_server.errors import PortError
from thyroid_server.ports import Endpoint, PortReservation, resolve

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port(taken_port: int, message_of: Any) -> None:
    with pytest.raises(PortError) as error:
        PortReservation([Endpoint("gRPC", LOOPBACK, taken_port)])
    assert f"gRPC port {taken_port} on 127.0.0.1 is taken" in message_of(error)


def test_a_port_taken_on_every_address_is_taken_on_one(taken_port: int) -> None:
    with pytest.raises(PortError, match="is taken"):
        PortReservation([Endpoint("gRPC", "0.0.0.0", taken_port)])


def test_ports_taken_before_a_failure_are_free_again(taken_port: int) -> None:
    with PortReservation([Endpoint("HTTP", LOOPBACK, 0)]) as probe:
        free = probe.endpoints[0].port
    with pytest.raises(PortError):
        PortReservation([Endpoint("HTTP", LOOPBACK, free), Endpoint("gRPC", LOOPBACK, taken_port)])
    with socket.create_server((LOOPBACK, free), reuse_port=False):
        pass


def test_the_same_port_twice(taken_port: int, message_of: Any) -> None:
    with PortReservation([Endpoint("HTTP", LOOPBACK, 0)]) as probe:
        port = probe.endpoints[0].port
    with pytest.raises(PortError) as error:
        PortReservation([Endpoint("HTTP", LOOPBACK, port), Endpoint("gRPC", LOOPBACK, port)])
    assert f"gRPC and the HTTP port are both {port}" in message_of(error)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port(port: int, message_of: Any) -> None:
    with pytest.raises(PortError) as error:
        PortReservation([Endpoint("metrics", LOOPBACK, port)])
    assert f"metrics port is {port}" in message_of(error)


def test_an_address_of_another_machine(message_of: Any) -> None:
    with pytest.raises(PortError) as error:
        PortReservation([Endpoint("gRPC", "192.0.2.1", 0)])  # RFC 5737: nobody's
    assert "cannot listen on 192.0.2.1:0" in message_of(error)


def test_a_reserved_port_is_given_to_nobody_who_asks_for_any_but_to_a_server() -> None:
    with PortReservation([Endpoint("gRPC", LOOPBACK, 0)]) as reservation:
        port = reservation.endpoints[0].port
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind((LOOPBACK, port))
        with socket.create_server((LOOPBACK, port)):  # sets SO_REUSEADDR, as Triton does
            pass


@pytest.mark.parametrize("host", ["no such host", "::1", "a" * 64])
def test_a_host_without_an_ipv4_address(host: str, message_of: Any) -> None:
    with pytest.raises(PortError) as error:
        resolve(host)
    assert repr(host) in message_of(error)


def test_a_name_becomes_an_address() -> None:
    assert resolve("localhost") == LOOPBACK
