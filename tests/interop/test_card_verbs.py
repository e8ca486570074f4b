"""The verbs of `keywright card` over real PC/SC: a card is filled, talked to by a script, recorded and emptied."""

from __future__ import annotations

import json
from pathlib import Path

from interop.pcscd import LINK, Insert, Keywright
from keywright.element import SecureElement
from keywright.globalplatform.cap.build import build_cap

PACKAGE, APPLET, DOMAIN = "A000000003", "A00000000301", "A0000001515301"


def test_a_card_is_filled_scripted_recorded_and_emptied_over_pcsc(
    insert: Insert, keywright: Keywright, tmp_path: Path
) -> None:
    insert(SecureElement())
    cap, trace, script = tmp_path / "a.cap", tmp_path / "t.jsonl", tmp_path / "a.script"
    cap.write_bytes(build_cap(bytes.fromhex(PACKAGE), [bytes.fromhex(APPLET)], code_bytes=1500))
    script.write_text("open-session level=13\n80F24002 [4F00] 00\nexpect 9000 E3 ..\nreset\nselect A00000000301\n")
    common = ("--link", LINK, "--keys", "gp-test", "--yes", "--json")
    for words in (
        ("install", cap, "--trace", trace),
        ("create-domain", DOMAIN),
        ("move", APPLET, DOMAIN),
        ("script", script),
        ("keys", "put", "gp-test", "--new-kvn", "30", "--trace", trace),
        ("uninstall", cap),
        ("delete", DOMAIN),
    ):
        keywright("card", *words, *common)
    listed = keywright.json("card", "list", *common[:4], "--kvn", "30")
    assert listed["applications"] == listed["load_files"] == []
    told = keywright("decode", trace, "--keys", "gp-test", "--json")
    documents = [json.loads(line) for line in told.splitlines()]
    assert sum(document["title"].startswith("LOAD block") for document in documents) > 1
    assert [document["masked"] for document in documents if document["title"].startswith("PUT KEY")] == [True]
