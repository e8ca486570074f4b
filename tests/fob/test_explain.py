"""The credential applet in words."""

from __future__ import annotations

from keywright.fob.credential.messages import Dgi, PublicKey
from keywright.fob.explain import KNOWN
from keywright.globalplatform.explain import explain
from keywright.globalplatform.messages import wrapped
from keywright.iso7816.apdu import Command, Response


def test_a_new_key_pair_is_told_with_its_point() -> None:
    point = b"\x04" + bytes(range(64))
    answer = Response(wrapped(Dgi.PUBLIC_KEY, PublicKey(point).build()))
    told = explain(Command(0x80, 0x46, 0, 0, b"", 0), answer, KNOWN)
    assert told.title == "GENERATE KEY PAIR"
    assert told.answered == (("point", point.hex().upper()),)


def test_its_data_objects_have_names() -> None:
    told = explain(Command(0x80, 0xCA, 0xDF, 0x01, b"", 0), Response(wrapped(0xDF01, b"north")), KNOWN)
    assert told.title == "GET DATA DF01 (owner group)"
    assert told.answered == (("owner group", b"north".hex().upper()),)
