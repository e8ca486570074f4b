from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from keywright.globalplatform.explain import Explanation
from keywright.iso7816.apdu import Command, Response
from keywright.production.reports.diagram import EXCHANGES_SHOWN, describe, sequence_svg
from keywright.production.reports.sequence import FOB, HOST, STORE, Direction, Recorder, Step
from support import lots

SVG = "{http://www.w3.org/2000/svg}"


def step(t: float, direction: Direction, raw: str = "", **fields: object) -> Step:
    return Step(t=t, who=HOST, link="", dir=direction, hex=raw, **fields)  # type: ignore[arg-type]  # as given


def drawn(*steps: Step) -> ET.Element:
    return ET.fromstring(sequence_svg(steps))


def texts(svg: ET.Element, kind: str = "") -> list[str]:
    found = [text for text in svg.iter(f"{SVG}text") if kind in text.get("class", "").split() or not kind]
    return [text.text or "" for text in found]


def labels(svg: ET.Element) -> list[str]:
    return texts(svg, "label")


@pytest.fixture
def demo() -> list[Step]:
    steps: list[Step] = []
    lots.exchange(Recorder(steps.append, clock=lots.ticking()))
    return steps


def test_an_exchange_is_told_with_its_title_status_and_size(demo: list[Step]) -> None:
    svg = drawn(*demo)
    assert labels(svg)[:4] == [
        "power on, reset",
        "SELECT issuer security domain",
        "GET DATA 9F7F (card production life cycle)",
        "GET DATA 0042 (issuer identification number)",
    ]
    statuses = texts(svg, "status")
    assert statuses[0] == "9000 ok · 18 bytes"
    assert statuses[2] == "6A88 referenced data not found"


def test_a_protected_exchange_is_marked_and_told_as_it_was_before(demo: list[Step]) -> None:
    svg = drawn(*demo)
    secured = [group for group in svg.iter(f"{SVG}g") if group.get("class") == "secured"]
    titles = [title for group in secured for title in labels(group)]
    assert titles == ["EXTERNAL AUTHENTICATE level 33", "PUT KEY new key version", "STORE DATA block 00, last"]
    assert all(group.find(f"{SVG}g[@class='lock']") is not None for group in secured)
    assert sum("sealed" in line.get("class", "") for line in svg.iter(f"{SVG}line")) == 2


def test_a_band_begins_every_step_of_the_recipe(demo: list[Step]) -> None:
    bands = texts(drawn(*demo), "band-name")
    assert bands == ["identify", "authenticate", "own keys", "personalise", "lock down"]


def test_keys_are_nowhere_in_the_picture() -> None:
    secret = bytes(range(0x40, 0x80))
    steps: list[Step] = []
    put = Command(0x80, 0xD8, 0x00, 0x81, b"\x30" + secret, 0)
    Recorder(steps.append).exchanged(1, put, put, Response(b""), Response(b""))
    picture = sequence_svg(steps)
    assert "PUT KEY" in picture
    assert secret.hex().upper()[:8] not in picture
    assert "masked" in picture


def test_lanes_are_those_who_took_part() -> None:
    host_and_fob = (step(1, "command", "00A4040000"), step(2, "answer", "9000"))
    assert texts(drawn(*host_and_fob))[:2] == [HOST, FOB]
    aside = step(0.5, "message", note="intent: identify", to=STORE)
    svg = drawn(*host_and_fob, aside)
    assert texts(svg)[:3] == [STORE, HOST, FOB]
    assert labels(svg)[0] == "intent: identify"


def test_steps_are_drawn_in_the_order_of_their_times() -> None:
    svg = drawn(
        step(5, "command", "80CA004200"),
        step(6, "answer", "6A88"),
        step(1, "command", "00A4040000"),
        step(2, "answer", "9000"),
    )
    assert labels(svg) == ["SELECT issuer security domain", "GET DATA 0042 (issuer identification number)"]
    assert texts(svg, "time") == ["0.0 ms", "4.00 s"]


def test_an_answer_in_pieces_is_one_exchange() -> None:
    svg = drawn(
        step(1, "command", "80CA7F2100"),
        step(2, "answer", "AABB6102"),
        step(3, "command", "00C0000002"),
        step(4, "answer", "CCDD9000"),
        step(5, "command", "00A4040000"),
        step(6, "answer", "9000"),
    )
    assert len(labels(svg)) == 2
    assert texts(svg, "status") == ["9000 ok · 4 bytes", "9000 ok"]
    assert "answer AABBCCDD" in texts(svg, "note")[0]


def test_a_lost_answer_and_none_at_all_are_told() -> None:
    svg = drawn(
        step(1, "command", "00A4040000"),
        step(2, "lost", note="card removed"),
        step(3, "command", "00A4040000"),
        step(4, "reset"),
        step(5, "command", "00A4040000"),
    )
    assert texts(svg, "status") == ["card removed", "no answer", "no answer"]
    assert len(svg.findall(f".//{SVG}path[@class='lost']")) == 3


@pytest.mark.parametrize(
    ("sw", "tone"), [("9000", "good"), ("6A88", "calm"), ("6283", "warn"), ("6985", "bad"), ("", "bad")]
)
def test_the_colour_says_how_good_an_answer_is(sw: str, tone: str) -> None:
    svg = drawn(step(1, "command", "00A4040000"), step(2, "answer", sw))
    (status,) = [text for text in svg.iter(f"{SVG}text") if "status" in text.get("class", "").split()]
    assert status.get("class") == f"status {tone}"


def test_bytes_that_are_no_command_are_counted() -> None:
    assert labels(drawn(step(1, "command", "8050"), step(2, "answer", "6700"))) == ["2 bytes that are no command"]


def test_another_explainer_may_tell_it() -> None:
    def explain(command: Command, response: Response | None) -> Explanation:
        assert command.ins == 0xA4
        assert response == Response(b"")
        return Explanation("<b>hello</b>", (("a", "1"),), (("b", "2"),), "fine")

    picture = sequence_svg([step(1, "command", "00A4040000"), step(2, "answer", "9000")], explain)
    assert labels(ET.fromstring(picture)) == ["<b>hello</b>"]
    assert "b 2" in picture


def test_texts_from_outside_stay_texts() -> None:
    hostile = "</text><script>alert(1)</script>\u202e"
    svg = drawn(
        step(1, "command", "00A4040000", step=hostile, to=f"fob{hostile}"),
        step(2, "lost", note=hostile, to=f"fob{hostile}"),
        step(3, "message", note=hostile, to=f"fob{hostile}"),
    )
    assert not list(svg.iter(f"{SVG}script"))
    assert len([text for text in texts(svg) if "<script>" in text and "⟨U+202E⟩" in text]) >= 3


def test_a_long_exchange_is_cut_and_says_so() -> None:
    steps = [step(n, "message", note=str(n)) for n in range(EXCHANGES_SHOWN + 5)]
    svg = drawn(*steps)
    assert len(labels(svg)) == EXCHANGES_SHOWN
    assert texts(svg, "band-name") == [f"cut after {EXCHANGES_SHOWN} rows"]


def test_a_file_of_its_own_brings_its_colours_and_needs_nothing_else(demo: list[Step]) -> None:
    picture = sequence_svg(demo, standalone=True)
    assert [style.text.count("--accent:") for style in ET.fromstring(picture).iter(f"{SVG}style") if style.text] == [3]
    assert "url(" not in picture
    assert "--accent:" not in sequence_svg(demo)


def test_nothing_is_drawn_of_nothing() -> None:
    assert sequence_svg([]) == ""
    assert describe([]) == "0 exchanges, 0 of them under secure messaging"
