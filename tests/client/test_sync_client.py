"""`ThyroidClient` over a transport of the tests': retries, deadlines, readiness, closing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

from thyroid_client import (
    AccessDenied,
    AnswerError,
    Cancellation,
    ClientClosed,
    ConnectionFailed,
    DeadlineExceeded,
    Decision,
    ImageRejected,
    ImageUnreadable,
    ModelNotFound,
    RawAnswer,
    RetryPolicy,
    ServerError,
    ServerOverloaded,
    ServerUnavailable,
    ThyroidClient,
    ThyroidClientError,
    Timeouts,
    TlsFailed,
)
from thyroid_client._retry import Attempts
from thyroid_pipeline import contract

QUICK = RetryPolicy(attempts=4, initial_backoff_s=1e-4, max_backoff_s=1e-3)


class FakeTransport:
    """Answers by a script: one step per call, the last one again and again."""

    def __init__(self, *steps: RawAnswer | ThyroidClientError) -> None:
        self.steps = list(steps)
        self.timeouts_s: list[float] = []
        self.ready: list[bool | ThyroidClientError] = [True]
        self.versions: Mapping[str, str] | ThyroidClientError = {"resnet18": "7"}
        self.version_calls = 0
        self.closed = 0

    def infer(self, image: bytes, *, timeout_s: float, cancellation: Cancellation) -> RawAnswer:
        assert image == b"image"
        assert not cancellation.event.is_set()
        self.timeouts_s.append(timeout_s)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, ThyroidClientError):
            raise step
        return step

    def is_ready(self, *, timeout_s: float) -> bool:
        self.timeouts_s.append(timeout_s)
        answer = self.ready.pop(0) if len(self.ready) > 1 else self.ready[0]
        if isinstance(answer, ThyroidClientError):
            raise answer
        return answer

    def model_versions(self, *, timeout_s: float) -> Mapping[str, str]:
        self.version_calls += 1
        if isinstance(self.versions, ThyroidClientError):
            raise self.versions
        return self.versions

    def close(self) -> None:
        self.closed += 1


def test_an_answer_becomes_a_screening(fake: SimpleNamespace) -> None:
    transport = FakeTransport(fake.NODULE.answer())
    with ThyroidClient(transport=transport) as client:
        screening = client.screen(b"image")
    assert screening.decision is Decision.REFER
    assert not screening.out_of_distribution
    assert screening.nodule_found
    assert screening.malignancy == 0.75
    assert screening.forest_malignancy == 0.5
    assert screening.ood_score == 0.25
    assert screening.timings.attempts == 1
    assert screening.timings.prepare_ms >= 0
    assert screening.timings.round_trip_ms >= 0
    assert screening.timings.read_ms > 0
    assert transport.closed == 1


@pytest.mark.parametrize("error", [ConnectionFailed, ServerUnavailable, ServerOverloaded])
def test_what_may_mend_itself_is_sent_again(
    fake: SimpleNamespace, error: type[ThyroidClientError]
) -> None:
    transport = FakeTransport(error("once"), error("twice"), fake.NODULE.answer())
    screening = ThyroidClient(transport=transport, retry=QUICK).screen(b"image")
    assert screening.timings.attempts == 3


@pytest.mark.parametrize("error", [ConnectionFailed, ServerUnavailable, ServerOverloaded])
def test_the_last_error_is_raised_when_the_attempts_are_used_up(
    error: type[ThyroidClientError],
) -> None:
    transport = FakeTransport(*(error(str(i)) for i in range(1, 9)))
    with pytest.raises(error, match=r"^4$") as caught:
        ThyroidClient(transport=transport, retry=QUICK).screen(b"image")
    assert caught.value.attempts == 4
    assert len(transport.timeouts_s) == 4


@pytest.mark.parametrize(
    "error",
    [ImageRejected, AccessDenied, DeadlineExceeded, TlsFailed, ModelNotFound, ServerError],
)
def test_what_does_not_mend_itself_is_sent_once(error: type[ThyroidClientError]) -> None:
    transport = FakeTransport(error("no"))
    with pytest.raises(error) as caught:
        ThyroidClient(transport=transport, retry=QUICK).screen(b"image")
    assert caught.value.attempts == 1
    assert len(transport.timeouts_s) == 1


def test_an_answer_that_does_not_fit_is_not_asked_for_again(fake: SimpleNamespace) -> None:
    transport = FakeTransport(RawAnswer("thyroid_screening", "1", ()))
    with pytest.raises(AnswerError, match="`nodule_found` of the answer came 0 times"):
        ThyroidClient(transport=transport, retry=QUICK).screen(b"image")
    assert len(transport.timeouts_s) == 1


def test_an_unreadable_image_is_never_sent() -> None:
    transport = FakeTransport(ServerError("never"))
    with pytest.raises(ImageUnreadable) as caught:
        ThyroidClient(transport=transport).screen("/nowhere/neck.png")
    assert caught.value.attempts == 0
    assert transport.timeouts_s == []


def test_all_attempts_share_one_deadline() -> None:
    transport = FakeTransport(ServerUnavailable("stopping"))
    policy = RetryPolicy(attempts=10**6, initial_backoff_s=0.01, max_backoff_s=0.02)
    client = ThyroidClient(transport=transport, timeouts=Timeouts(request_s=0.2), retry=policy)
    with pytest.raises(ServerUnavailable) as caught:
        client.screen(b"image")
    assert 1 < caught.value.attempts == len(transport.timeouts_s)
    assert transport.timeouts_s[0] <= 0.2
    assert transport.timeouts_s == sorted(transport.timeouts_s, reverse=True)
    assert transport.timeouts_s[-1] > 0


def test_a_wait_that_lasted_too_long_does_not_hide_the_reason() -> None:
    """A busy machine may wake up after the deadline."""
    attempts = Attempts(0.05)
    with pytest.raises(ServerUnavailable, match="stopping"), attempts.one():
        raise ServerUnavailable("stopping")
    while attempts.rest_s() > 0:
        pass
    with pytest.raises(ServerUnavailable, match="stopping"), attempts.one():
        raise AssertionError("nothing is begun after the deadline")
    assert attempts.count == 1


def test_time_that_is_over_before_the_first_attempt() -> None:
    transport = FakeTransport(ServerError("never"))
    client = ThyroidClient(transport=transport, timeouts=Timeouts(request_s=1e-9))
    with pytest.raises(DeadlineExceeded, match="1e-09 s for the request were over before"):
        client.screen(b"image")
    assert transport.timeouts_s == []


def test_no_wait_is_begun_that_would_pass_the_deadline() -> None:
    transport = FakeTransport(ServerUnavailable("stopping"))
    policy = RetryPolicy(attempts=9, initial_backoff_s=60, max_backoff_s=60, jitter=0)
    client = ThyroidClient(transport=transport, timeouts=Timeouts(request_s=5), retry=policy)
    with pytest.raises(ServerUnavailable) as caught:
        client.screen(b"image")
    assert caught.value.attempts == 1


def test_versions_are_asked_for_once_and_merged_with_the_answers(fake: SimpleNamespace) -> None:
    transport = FakeTransport(fake.NODULE.answer())
    client = ThyroidClient(transport=transport)
    for _ in range(3):
        assert client.screen(b"image").model_versions == {
            "resnet18": "7",
            contract.ENSEMBLE.name: "1",
        }
    assert transport.version_calls == 1


def test_versions_are_asked_for_again_after_the_ensemble_changed(fake: SimpleNamespace) -> None:
    old = fake.NODULE.answer()
    transport = FakeTransport(old, RawAnswer(old.model_name, "2", old.tensors))
    client = ThyroidClient(transport=transport)
    assert client.screen(b"image").model_versions[contract.ENSEMBLE.name] == "1"
    transport.versions = {"resnet18": "8"}
    assert client.screen(b"image").model_versions == {
        "resnet18": "8",
        contract.ENSEMBLE.name: "2",
    }


@pytest.mark.parametrize(("error", "calls"), [(AccessDenied, 1), (ServerUnavailable, 3)])
def test_a_screening_does_not_fail_for_want_of_versions(
    fake: SimpleNamespace, error: type[ThyroidClientError], calls: int
) -> None:
    transport = FakeTransport(fake.NODULE.answer())
    transport.versions = error("no")
    client = ThyroidClient(transport=transport)
    for _ in range(3):
        assert client.screen(b"image").model_versions == {contract.ENSEMBLE.name: "1"}
    assert transport.version_calls == calls


def test_a_closed_client_says_so(fake: SimpleNamespace) -> None:
    transport = FakeTransport(fake.NODULE.answer())
    client = ThyroidClient(transport=transport)
    assert not client.is_closed
    client.close()
    client.close()
    assert client.is_closed
    assert transport.closed == 1
    calls: list[Callable[[], object]] = [
        lambda: client.screen(b"image"),
        lambda: client.screen_many([b"image"]),
        client.is_ready,
        client.wait_until_ready,
        client.model_versions,
    ]
    for call in calls:
        with pytest.raises(ClientClosed, match="the client is closed"):
            call()


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (True, True),
        (False, False),
        (ConnectionFailed("refused"), False),
        (ServerUnavailable("starting"), False),
        (ModelNotFound("not yet"), False),
        (DeadlineExceeded("stalled"), False),
    ],
)
def test_is_ready(answer: bool | ThyroidClientError, ready: bool) -> None:
    transport = FakeTransport(ServerError("never"))
    transport.ready = [answer]
    client = ThyroidClient(transport=transport, timeouts=Timeouts(control_s=0.5))
    assert client.is_ready() is ready
    assert transport.timeouts_s[0] <= 0.5


@pytest.mark.parametrize("error", [AccessDenied, TlsFailed])
def test_what_waiting_does_not_mend_is_raised(error: type[ThyroidClientError]) -> None:
    transport = FakeTransport(ServerError("never"))
    transport.ready = [error("no")]
    client = ThyroidClient(transport=transport)
    with pytest.raises(error):
        client.is_ready()
    with pytest.raises(error):
        client.wait_until_ready()
    assert len(transport.timeouts_s) == 2


def test_waiting_ends_when_the_server_is_ready() -> None:
    transport = FakeTransport(ServerError("never"))
    transport.ready = [ConnectionFailed("refused"), ModelNotFound("not yet"), False, True]
    ThyroidClient(transport=transport).wait_until_ready(30)
    assert len(transport.timeouts_s) == 4


def test_waiting_ends_with_the_reason_when_time_is_over() -> None:
    transport = FakeTransport(ServerError("never"))
    transport.ready = [False]
    with pytest.raises(ServerUnavailable, match=r"`thyroid_screening` is not ready"):
        ThyroidClient(transport=transport).wait_until_ready(0.01)


def test_one_client_serves_many_threads(fake: SimpleNamespace) -> None:
    client = ThyroidClient(transport=FakeTransport(fake.NODULE.answer()))
    found: list[float | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(client.screen(b"image").malignancy))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0.75] * 8
