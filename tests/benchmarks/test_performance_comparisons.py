"""The tables that set servers side by side, against results with known figures."""

from __future__ import annotations

from small_results import (
    DRIFTED,
    VALID,
    checked,
    comparison,
    contestant,
    document,
    missing_point,
    point,
    ratio,
)
from thyroid_benchmarks.performance_comparisons import (
    best_table,
    cpu_table,
    cross_check_table,
    rates_table,
    ratios_table,
    settings_table,
)

PEERS = document(
    peers=comparison(
        {1: (1.0, 1.1), 8: (0.96, 0.9)},
        [
            contestant("ours", [point(1, 10.0, 1.0), point(8, 16.0, 1.0)]),
            contestant("other", [point(1, 9.0, 0.9), point(8, 14.0, 0.875, (VALID, DRIFTED))]),
            contestant("absent", [missing_point(1), missing_point(8)], "it did not start"),
        ],
        [{"run": "other, 8 clients, round 1", "reasons": DRIFTED["reasons"]}],
    )
)


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_rates_have_their_range_and_their_verdicts() -> None:
    text = rates_table(PEERS, "peers")
    head, _, ours, other, absent = lines(text)
    assert head.startswith("| server | screenings/s, 1 client | screenings/s, 8 clients | p95, ms,")
    assert "| 16.00 (15.50 to 16.50) |" in ours
    assert ours.endswith("| 2 of 2 |")
    assert other.endswith("| **2 of 3** |")
    assert absent == "| absent | – | – | – | – | **0 of 0** |"  # noqa: RUF001
    assert "2 rounds of 12 s a point" in text
    assert "**INVALID: 1 runs** (drift 1). Their figures are left out." in text
    assert "**absent was not measured to the end**: it did not start." in text


def test_processor_time_is_set_beside_ours() -> None:
    head, _, ours, other, absent = lines(cpu_table(PEERS, "peers"))
    assert head.startswith("| server | processor time, ms, 1 client |")
    assert ours.startswith("| ours | 100.0 (90.0 to 110.0) | 62.5 (")
    assert "| 0.900 (0.800 to 1.000) |" in other
    assert absent == "| absent | – | – | – | – |"  # noqa: RUF001


def test_ratios_leave_ours_out() -> None:
    _, _, *rows = lines(ratios_table(PEERS, "peers"))
    assert [row.split(" | ")[0] for row in rows] == ["| other", "| absent"]
    assert "| 0.875 (0.775 to 0.975) |" in rows[0]


def test_rounds_that_are_left_are_told_where_some_are_out() -> None:
    fewer = point(8, 14.0, 0.875)
    fewer["ratios"]["rate_per_s"] = ratio(0.875, 0.1, rounds=1)
    ours = contestant("ours", [point(8, 16.0, 1.0)])
    part = comparison({8: (0.96, 0.9)}, [ours, contestant("other", [fewer])])
    part["best"][0]["p95"] = ratio(0.9, 0.02, rounds=3)
    table = ratios_table(document(peers=part), "peers")
    assert "| 0.875 (0.775 to 0.975), 1 of 2 rounds | 0.875 (0.775 to 0.975) |" in table
    best = best_table(document(peers=part), "peers")
    assert "| 0.960 (0.940 to 0.980) | quick | 0.900 (0.880 to 0.920), 3 of 4 rounds |" in best


def test_the_best_is_named() -> None:
    part = comparison({1: (1.0, 1.1), 8: (0.96, 0.9)}, [])
    part["best"][1]["titles"]["p95"] = None
    part["best"][1]["p95"] = None
    part["best"][1]["verdicts"][0] = "INVALID"
    _, _, one, eight = lines(best_table(document(peers=part), "peers"))
    assert one == (
        "| 1 | quick | 1.000 (0.980 to 1.020) | quick | 1.100 (1.080 to 1.120) | 8 of 8 |"
    )
    assert eight == "| 8 | quick | 0.960 (0.940 to 0.980) | – | – | **7 of 8** |"  # noqa: RUF001


def test_settings_name_versions() -> None:
    _, _, ours, *_ = lines(settings_table(PEERS, "peers"))
    assert ours == "| ours | how ours is \\| was | ours 1.0 |"


def test_a_cross_check_that_agrees_gives_no_reasons() -> None:
    text = cross_check_table(document(cross_check=checked(100.0, 104.0, agrees=True, reasons=[])))
    assert lines(text)[-1] == "| 1 clients | p50, ms | 100.00 | 104.00 | 1.040 | yes | 1 of 1 |"
    assert text.endswith("|")


def test_a_cross_check_that_differs_says_why() -> None:
    found = checked(100.0, 130.0, agrees=False, reasons=["the machine varied"])
    text = cross_check_table(document(cross_check=found))
    assert "| **no** |" in lines(text)[-1]
    assert text.endswith("- 1 clients: the machine varied")


def test_a_cross_check_that_was_not_done_says_so() -> None:
    found = {"allowed": 0.1, "fault": "there is no apt-get", "points": []}
    text = cross_check_table(document(cross_check=found))
    assert text == "The cross-check was not done: there is no apt-get"
