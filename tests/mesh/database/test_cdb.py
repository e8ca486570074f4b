"""The mesh configuration database: nothing is lost, and what is wrong is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import DecodeError, StoreError
from keywright.mesh.database.cdb import (
    AppKeyEntry,
    NetKeyEntry,
    check_document,
    read_document,
    uuid_bytes,
    uuid_text,
    write_document,
)
from keywright.mesh.database.network import NetworkDatabase
from keywright.mesh.models.composition import Composition, Element
from keywright.mesh.models.state import AppKeyState, NetKeyState
from keywright.store.memory import RamMemory
from support.mesh_export import EXPORT

TIME = "2026-05-06T07:08:09Z"
LAMP = bytes.fromhex("70cf7c9732a345b691494810d2e9cbf4")
NEW = bytes(range(16))


def in_order(document: object) -> str:
    """Names in their order, so that a changed order is a difference."""
    return json.dumps(document)


def test_what_was_taken_in_goes_out_as_it_was() -> None:
    memory = RamMemory()
    database = NetworkDatabase.take_in(memory, EXPORT)
    for one in (database, NetworkDatabase(memory)):
        assert in_order(json.loads(one.export())) == in_order(json.loads(EXPORT))
    assert "Hall 3 — Rückwand" in database.export()


def test_fields_that_are_not_known_stay_through_every_change() -> None:
    memory = RamMemory()
    database = NetworkDatabase.take_in(memory, EXPORT)
    database.promise(NEW, 2, bytes(16))
    database.complete(NEW, name="new", timestamp=TIME, is_secure=True)
    database.describe(NEW, Composition(1, 2, 3, 4, 0, (Element(0, (0,)), Element(1, (), ((0x59, 1),)))), TIME)
    database.describe(LAMP, Composition(1, 2, 3, 4, 0, (Element(0, (0,)), Element(1, ()))), TIME)
    database.remove(NEW, TIME)
    before, after = json.loads(EXPORT), json.loads(NetworkDatabase(memory).export())
    assert after["x-vendor"] == before["x-vendor"]
    assert after["netKeys"] == before["netKeys"]
    assert after["nodes"][0] == before["nodes"][0]
    lamp, lamp_before = after["nodes"][1], before["nodes"][1]
    for name in ("x-note", "heartbeatSub", "features", "networkTransmit", "name", "deviceKey"):
        assert lamp[name] == lamp_before[name]
    assert lamp["crpl"] == "0004"
    assert len(after["nodes"]) == 2
    assert list(after) == list(before)
    assert after["timestamp"] == TIME
    assert after["networkExclusions"] == [{"ivIndex": 0, "addresses": ["0005", "0006", "0007", "0008"]}]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
        _more := lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
        ),
    )
)
def test_anything_unknown_survives_the_memory(extra: Any) -> None:
    document = json.loads(EXPORT) | {"x-extra": extra}
    document["nodes"][1]["x-extra"] = extra
    memory = RamMemory()
    NetworkDatabase.take_in(memory, json.dumps(document))
    assert in_order(json.loads(NetworkDatabase(memory).export())) == in_order(document)


def changed(path: tuple[Any, ...], value: Any) -> str:
    """The export with another value at a place; `...` takes the place away."""
    document = json.loads(EXPORT)
    at = document
    for step in path[:-1]:
        at = at[step]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("version",), "2.0.0", "version '2.0.0'"),
        (("meshUUID",), ..., "meshUUID"),
        (("meshUUID",), "0B7B", "meshUUID"),
        (("meshUUID",), "0B7B2F9A-5D0E4C11-9B5C-6C0F6B0F1A22", "meshUUID"),
        (("nodes",), {}, "nodes"),
        (("nodes", 1), 7, "nodes[1]"),
        (("nodes", 1, "UUID"), "x" * 32, "nodes[1].UUID"),
        (("nodes", 1, "UUID"), "6a0e2b9c3d1f4b7a8e550d6c1b2a3f44", "nodes has 6a0e2b9c3d1f4b7a8e550d6c1b2a3f44 twice"),
        (("nodes", 1, "deviceKey"), "9D6D", "nodes[1].deviceKey"),
        (("nodes", 1, "unicastAddress"), "3", "nodes[1].unicastAddress"),
        (("nodes", 1, "unicastAddress"), "0000", "has addresses 0000 and on"),
        (("nodes", 1, "unicastAddress"), "8000", "has addresses 8000 and on"),
        (("nodes", 1, "unicastAddress"), "7FFF", "has addresses 7FFF and on"),
        (("nodes", 1, "unicastAddress"), "0001", "share address 0001"),
        (("nodes", 0, "unicastAddress"), "0004", "share address 0004"),
        (("nodes", 1, "elements", 0, "models", 0, "modelId"), "000", "modelId"),
        (("nodes", 1, "elements", 0, "models", 1, "bind"), [4096], "bind"),
        (("nodes", 1, "elements", 0, "models", 1, "subscribe"), ["C0"], "subscribe"),
        (("nodes", 1, "elements", 0, "location"), "1", "location"),
        (("nodes", 1, "netKeys", 0, "index"), -1, "netKeys[0].index"),
        (("netKeys", 0, "key"), "7DD7364CD842AD18C17C2B820C84C3", "netKeys[0].key"),
        (("netKeys", 0, "phase"), 3, "netKeys[0].phase"),
        (("netKeys", 0, "index"), 4095, "netKeys has FFF twice"),
        (("netKeys", 0, "index"), 4096, "netKeys[0].index"),
        (("netKeys", 0, "index"), "0", "netKeys[0].index"),
        (("appKeys", 0, "boundNetKey"), 7, "AppKey 000 is bound to NetKey 007"),
        (("provisioners", 0, "allocatedUnicastRange", 0, "lowAddress"), "1", "lowAddress"),
        (("networkExclusions", 0, "ivIndex"), 1 << 32, "ivIndex"),
        (("networkExclusions", 0, "addresses"), ["xyzw"], "networkExclusions[0].addresses"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(path: tuple[Any, ...], value: Any, place: str) -> None:
    memory = RamMemory()
    with pytest.raises(DecodeError) as caught:
        NetworkDatabase.take_in(memory, changed(path, value))
    assert place in str(caught.value)
    assert "9D6D" not in str(caught.value)
    assert "7DD7" not in str(caught.value)
    assert memory.names() == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("7", "not a JSON object"),
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('{"nodes": [{"a": 1, "a": 2}]}', "a name stands twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "NaN and Infinity"),
        ('{"a": "\\ud800"}', "not JSON"),
        ("9" * 5000, "not"),
    ],
)
def test_what_is_no_document_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        check_document(read_document(text))


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_is_a_document_or_an_error(text: str | bytes) -> None:
    try:
        document = read_document(text)
        check_document(document)
    except DecodeError:
        return
    assert read_document(write_document(document)) == document


def test_older_documents_and_ids_without_hyphens_are_taken() -> None:
    for version in ("1.0.0", "1.0.1"):
        document = json.loads(changed(("version",), version))
        document["meshUUID"] = document["meshUUID"].replace("-", "").lower()
        document["id"] = document["id"].replace("meshprofile", "mesh-profile")
        database = NetworkDatabase.take_in(RamMemory(), json.dumps(document))
        assert json.loads(database.export()) == document
        node = database.node(LAMP)
        assert node is not None
        assert (node.address, node.last_address) == (3, 4)
    for optional in ("networkExclusions", "scenes", "groups", "appKeys", "nodes", "provisioners", "timestamp", "id"):
        document = json.loads(EXPORT)
        del document[optional]
        if optional == "nodes":
            assert NetworkDatabase.take_in(RamMemory(), json.dumps(document)).cdb.nodes == ()
        else:
            assert optional not in json.loads(NetworkDatabase.take_in(RamMemory(), json.dumps(document)).export())


@given(st.binary(min_size=16, max_size=16))
def test_uuids_have_two_forms(uuid: bytes) -> None:
    assert uuid_bytes(uuid_text(uuid)) == uuid_bytes(uuid.hex()) == uuid


def test_a_memory_holds_one_network() -> None:
    memory = RamMemory()
    with pytest.raises(StoreError, match="no network"):
        NetworkDatabase(memory)
    NetworkDatabase.take_in(memory, EXPORT)
    with pytest.raises(StoreError, match="holds a network already"):
        NetworkDatabase.take_in(memory, EXPORT)


def test_a_node_that_is_listed_and_not_there_is_named() -> None:
    memory = RamMemory()
    NetworkDatabase.take_in(memory, EXPORT)
    memory.commit({"node/" + LAMP.hex(): None})
    with pytest.raises(DecodeError, match="node 70CF7C97-32A3-45B6-9149-4810D2E9CBF4 is listed and not here"):
        NetworkDatabase(memory)


def test_keys_in_clear_are_not_in_what_is_printed() -> None:
    database = NetworkDatabase.take_in(RamMemory(), EXPORT)
    text = repr(database.cdb) + repr(database.cdb.nodes) + repr(database) + repr(database.promise(NEW, 1, b"k" * 16))
    assert "9D6DD0E9" not in text
    assert "7DD7364C" not in text
    assert "kkkk" not in text + repr(database.all_pending())


def test_no_key_is_in_what_prints() -> None:
    key, text = b"k" * 16, "5C" * 16
    entries = (NetKeyEntry(0, text, old_key=text), AppKeyEntry(0, text, 0, old_key=text))
    states = (NetKeyState(key, key), AppKeyState(0, key, key))
    said = repr((entries, states))
    assert text not in said
    assert "kkkk" not in said
