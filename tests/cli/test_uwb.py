"""`keywright uwb`: tables, JSON, pages and pictures; equal seeds give equal bytes; wrong words get one line."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from keywright.cli.main import main
from keywright.cli.uwb.drawing import Picture, linear, shares
from keywright.cli.uwb.plots import curves, distances
from keywright.cli.uwb.ranging import bars
from keywright.cli.uwb.running import run
from keywright.uwb.lab import Scenario, portions
from keywright.uwb.lab.statistics import histogram, roc, useful_thresholds

MOVED = ("--limit", "clock_ppm=99", "--limit", "carrier_ppm=99", "--limit", "drift_ns=99")
FEW = ("--channel", "awgn", "--snr", "5", "--trials", "3", "--pulses", "256")


def ran(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["uwb", *map(str, words)]) == code, capsys.readouterr()
    return capsys.readouterr()


def test_range_tells_what_each_responder_measures(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = ran(capsys, "range", "--distance", "3,8", "--responders", "2", *FEW)
    assert re.search(r"^ +1 +3\.00 m +[+-]0\.0\d+ m", out, re.MULTILINE)
    assert re.search(r"^ +2 +8\.00 m +[+-]0\.0\d+ m", out, re.MULTILINE)
    assert "< 71 % (95 %, 3 trials)" in out
    assert "█" in out
    assert "a model" in err


def test_range_as_json_has_no_rate_without_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(ran(capsys, "range", *FEW, "--json")[0])
    one = found["responders"][0]
    assert one["scenario"]["distance_m"] == 3
    assert abs(one["bias_m"]) < 0.05
    assert one["refused"] == {"hits": 0, "trials": 3, "low": 0.0, "high": 0.707598}


def test_several_processes_and_equal_seeds_give_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("attack", "ghost-peak", "--channel", "awgn", "--pulses", "256", "--trials", "34", "--json")
    one, two, other = (ran(capsys, *words, *more)[0] for more in ((), ("--jobs", "2"), ("--seed", "2")))
    assert one == two
    assert one != other


def test_a_person_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work = portions(Scenario(channel="awgn", pulses=256), None, 3, 1, 0)
    assert len(run([work], 1)[0]) == 3
    assert "measurements" in terminal.getvalue()


def test_all_attacks_are_counted_with_checks_on_and_off(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "attacks.html"
    words = ("attack", "all", "--trials", "6", "--pulses", "256")
    out, _ = ran(capsys, *words, "--html", page, "--svg", tmp_path / "plots")
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert set(rows) >= {"honest", "relay", "early-late", "cicada", "ghost-peak", "stale-sts", "mix-down-ss", "enlarge"}
    assert " 0 %" not in out
    assert max(map(len, out.splitlines())) <= 110
    again = page.read_bytes()
    lines = ran(capsys, *words, "--json", "--html", page)[0].splitlines()
    assert page.read_bytes() == again
    found = {one["attack"]: one for one in map(json.loads, lines)}
    assert found["honest"]["parameters"] is None
    assert found["repeated-sts"]["success_checks_on"]["hits"] == 6
    assert found["relay"]["success_checks_off"]["hits"] == 0
    assert found["mix-down-ss"]["scenario"]["method"] == "ss"
    text = page.read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "<script" not in text
    assert text.count("<svg") == len(list((tmp_path / "plots").iterdir()))
    for file in (tmp_path / "plots").iterdir():
        root = ET.fromstring(file.read_text())
        assert root.get("aria-label")
        assert "prefers-color-scheme: dark" in "".join(root.itertext())


def test_where_nothing_is_found_nothing_is_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = ran(capsys, "range", *FEW, "--snr", "-40", "--svg", tmp_path)
    assert "> 29 % (95 %, 3 trials)" in out
    assert "█" not in out
    assert "nan" not in out
    assert "whisker" not in (tmp_path / "range.svg").read_text().partition("</style>")[2]
    out, _ = ran(capsys, "attack", "relay", *FEW, "--snr", "-40")
    assert re.search(r"relay .* none ", out)


def test_single_sided_ranging_alone_is_attacked_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ran(capsys, "attack", "stretch", *FEW, "--method", "ss", "--json")[0].splitlines()
    assert [json.loads(line)["attack"] for line in lines] == ["honest", "stretch"]


def test_checks_can_be_left_out_and_moved(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("attack", "mix-down", "--channel", "awgn", "--pulses", "512", "--trials", "4", "--json")
    whole, without, moved = (
        json.loads(ran(capsys, *words, *more)[0].splitlines()[1])
        for more in ((), ("--without", "clock", "--without", "drift"), MOVED)
    )
    assert whole["refused_checks_on"]["hits"] == 4
    assert without["checks"] == ["signs", "blocks", "floor"]
    assert without["refused_checks_on"]["hits"] == moved["refused_checks_on"]["hits"] == 0


def test_parameters_of_an_attack_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("attack", "relay", "--set", "extra_m=5", *FEW, "--json")
    relay = json.loads(ran(capsys, *words)[0].splitlines()[1])
    assert relay["parameters"] == {"extra_m": 5.0}
    assert relay["median_m"] == pytest.approx(15, abs=0.05)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("range", "--channel", "cm9"), "--channel cm9"),
        (("range", "--mode", "lrp"), "--mode lrp"),
        (("range", "--pulses", "100"), "--pulses 100"),
        (("range", "--pulses", "8192"), "--pulses 8192"),
        (("range", "--distance", "near"), "--distance near"),
        (("range", "--distance", "1,2"), "at most 1 responders"),
        (("range", "--distance", "nan"), "--distance nan"),
        (("attack", "ghost"), "no attack ghost"),
        (("attack", "relay", "--set", "extra_m"), "no NAME=VALUE"),
        (("attack", "relay", "--set", "speed=1"), "no parameter speed"),
        (("attack", "all", "--set", "extra_m=1"), "needs one attack"),
        (("attack", "relay", "--without", "luck"), "no such check"),
        (("attack", "relay", "--limit", "luck=1"), "no such threshold"),
        (("attack", "relay", "--limit", "signs=many"), "--limit"),
        (("attack", "relay", "--limit", "signs=nan"), "no number"),
        (("attack", "relay", "--radius", "12"), "without an attack"),
    ],
)
def test_what_makes_no_sense_is_one_line_with_a_hint(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    _, err = ran(capsys, *words, code=2)
    assert message in err
    assert "  next: " in err


def test_a_file_that_is_no_earlier_page_is_not_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    ran(capsys, "range", *FEW, "--html", mine, code=2)
    assert mine.read_text() == "mine"
    (tmp_path / "file").write_text("")
    _, err = ran(capsys, "range", *FEW, "--svg", tmp_path / "file", code=2)
    assert "no folder" in err


def test_bars_of_a_histogram_are_as_long_as_their_shares() -> None:
    lines = bars(histogram(np.array([0.1, 0.1, 0.1, 0.1, 1.1, 1.1]), 0, 3, 3))
    assert [line.count("█") for line in lines] == [40, 20, 0]
    assert lines[0].endswith("66.7 %")


def test_axes_have_round_ticks_and_end_where_they_should() -> None:
    assert [text for _, text in linear(-0.3, 2.2).ticks] == ["0", "0.5", "1", "1.5", "2"]
    axis = shares(0.002, zero=True)
    assert [text for _, text in axis.ticks] == ["0", "1 %", "10 %", "100 %"]
    assert [axis.part(value) for value in (1e-9, 0.1, 1.0)] == pytest.approx([0, 2 / 3, 1])


def test_a_picture_escapes_what_it_is_given() -> None:
    picture = Picture("a < b", ("x & y", linear(0, 1)), ("up", linear(0, 1)), '"what"')
    picture.mark(0.9, "<here>")
    picture.name("<kind>", "one")
    texts = "".join(ET.fromstring(picture.svg()).itertext())
    assert texts.startswith("a < b")
    assert "<here>" in texts


def shapes(picture: Picture, kind: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(picture.svg()).iter() if kind in (one.get("class") or "").split()]


def test_a_histogram_draws_a_bar_and_an_interval_for_what_was_measured() -> None:
    picture = distances("d", {"honest": np.array([1.0, 1.0, 5.0, np.nan])}, {"true": 1.0})
    assert len(shapes(picture, "whisker")) == 2
    tall, small = (float(one.get("height") or 0) for one in shapes(picture, "fill")[1:])
    assert tall > small > 0
    assert len(shapes(picture, "mark")) == 1


def test_a_curve_lies_in_its_band() -> None:
    rng = np.random.default_rng(1)
    honest, attacked = rng.normal(0.6, 0.04, 300), rng.normal(0.54, 0.03, 40)
    points = roc(honest, attacked, useful_thresholds(honest, attacked))
    picture = curves("c", {"signs": points, "blocks": []})
    line = [tuple(map(float, pair.split(","))) for pair in (shapes(picture, "curve")[0].get("points") or "").split()]
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    assert len(shapes(picture, "band")) == 1
    assert all(one.alarms.low <= one.alarms.rate <= one.alarms.high for one in points)
