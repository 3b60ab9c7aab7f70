"""Options and addresses are checked when they are made, and say what is wrong with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thyroid_client import Limits, RetryPolicy, ThyroidClient, Timeouts, Tls
from thyroid_client._address import parse_address

PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["request_s", "connect_s", "control_s"])
def test_a_timeout_is_a_positive_number(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` \(={value}\)"):
        Timeouts(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, r"`attempts` \(=0\)"),
        ({"initial_backoff_s": 0}, r"`initial_backoff_s` \(=0\)"),
        ({"initial_backoff_s": 2, "max_backoff_s": 1}, "in this order"),
        ({"max_backoff_s": math.inf}, "`max_backoff_s`"),
        ({"max_backoff_s": math.nan}, "`max_backoff_s`"),
        ({"jitter": 1.1}, r"`jitter` \(=1\.1\)"),
        ({"jitter": -0.1}, "`jitter`"),
    ],
)
def test_a_retry_policy_is_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**options)


@given(
    initial_s=st.floats(1e-6, 1e3),
    factor=st.floats(1, 1e6),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 5000),
    random=st.floats(0, 1, exclude_max=True),
)
def test_waits_stay_within_their_bounds(
    initial_s: float, factor: float, jitter: float, attempt: int, random: float
) -> None:
    policy = RetryPolicy(
        initial_backoff_s=initial_s, max_backoff_s=initial_s * factor, jitter=jitter
    )
    wait_s = policy.wait_s(attempt, random)
    assert 0 <= wait_s <= policy.max_backoff_s
    longest_s = policy.wait_s(attempt, 0.0)
    assert longest_s * (1 - jitter) <= wait_s <= longest_s
    assert longest_s <= policy.wait_s(attempt + 1, 0.0)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(initial_backoff_s=0.5, max_backoff_s=3, jitter=0)
    assert [policy.wait_s(attempt, 0.9) for attempt in range(1, 6)] == [0.5, 1, 2, 3, 3]


@pytest.mark.parametrize("count", [0, -3])
def test_at_least_one_request_is_in_flight(count: int) -> None:
    with pytest.raises(ValueError, match=rf"`max_in_flight` \(={count}\)"):
        Limits(max_in_flight=count)


@pytest.mark.parametrize(
    ("given_names", "missing"),
    [(["certificate_chain"], "private_key"), (["private_key"], "certificate_chain")],
)
def test_a_client_certificate_needs_both_files(given_names: list[str], missing: str) -> None:
    with pytest.raises(ValueError, match=f"without `{missing}`"):
        Tls(**{name: Path("file.pem") for name in given_names})


def test_certificate_files_are_read_when_the_client_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`root_certificates` .*none\.pem.* cannot be read"):
        ThyroidClient(tls=Tls(root_certificates=tmp_path / "none.pem"))
    (tmp_path / "der.pem").write_bytes(b"\x30\x82")
    with pytest.raises(ValueError, match=r"der\.pem.* holds no PEM block"):
        ThyroidClient(tls=Tls(root_certificates=tmp_path / "der.pem"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("localhost", "grpc://localhost:8001"),
        ("localhost:9001", "grpc://localhost:9001"),
        (" triton.example:1 ", "grpc://triton.example:1"),
        ("grpc://10.0.0.7:8001/", "grpc://10.0.0.7:8001"),
        ("grpcs://triton.example", "grpcs://triton.example:8001"),
        ("[::1]:8001", "grpc://[::1]:8001"),
        ("grpcs://[fe80::1]", "grpcs://[fe80::1]:8001"),
    ],
)
def test_addresses_as_people_write_them(text: str, shown: str) -> None:
    assert str(parse_address(text, None)) == shown


def test_tls_options_make_a_bare_address_secure() -> None:
    assert str(parse_address("host:1", Tls())) == "grpcs://host:1"


@pytest.mark.parametrize(
    "text",
    ["", "  ", ":8001", "http://host:8000", "host:port", "host:99999", "host:0", "host/path",
     "user@host:8001", "grpc://", "[::1", "host?x=1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port, grpc://host:port or grpcs://host:port"):
        parse_address(text, None)


def test_plain_text_and_tls_options_contradict() -> None:
    with pytest.raises(ValueError, match="says plain text, but TLS options were given"):
        parse_address("grpc://host:8001", Tls())
