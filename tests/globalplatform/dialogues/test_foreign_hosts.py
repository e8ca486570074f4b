"""Our dialogues against what foreign hosts sent under secure messaging: opened with the card's keys, byte for byte."""

from __future__ import annotations

import functools

import pytest

from keywright.globalplatform.cap.file import parse_cap
from keywright.globalplatform.cap.lint import lint
from keywright.globalplatform.dialogues.content import (
    Installation,
    delete_object,
    install_for_install,
    install_for_load,
    load,
)
from keywright.globalplatform.dialogues.keys import put_key
from keywright.globalplatform.dialogues.registry import read_registry
from keywright.globalplatform.host import put_keys
from keywright.globalplatform.install import InstallForLoad, LoadParameters, LoadSystemParameters
from keywright.globalplatform.load_file import parse_load_file
from keywright.globalplatform.unwrapping import Candidate, Unwrapper
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp03.keys import KeySet
from support.scripts import sent, talk
from support.vectors import load as vector
from support.vectors import unhex

TEST = KeySet.gp_test()
ISD = bytes.fromhex("A000000151000000")
PACKAGE, APPLET = bytes.fromhex("D0D1D2D3D4D501"), bytes.fromhex("D0D1D2D3D4D50101")


@functools.cache
def opened(name: str) -> list[tuple[Command, Response]]:
    """The protected exchanges of a recorded session, as they were meant."""
    case = next(case for case in vector("scp/client_traces.json") if case["name"] == name)
    unwrapper = Unwrapper([Candidate(TEST)])
    found = []
    for exchange in case["exchanges"]:
        one = unwrapper.exchange(Command.parse(unhex(exchange["capdu"])), Response.parse(unhex(exchange["rapdu"])))
        if one is not None and one.command is not None and one.response is not None:
            found.append((one.command, one.response))
    return found


def of(name: str, ins: int) -> list[Command]:
    return [command for command, _ in opened(name) if command.ins == ins]


def hexes(commands: list[Command]) -> list[str]:
    return [Command(one.cla, one.ins, one.p1, one.p2, one.data, 0).encode().hex().upper() for one in commands]


def test_gpshell_announces_a_load_file_with_the_memory_it_needs() -> None:
    parameters = LoadParameters(LoadSystemParameters(code_bytes=b"\x01\x60")).build()
    ours = sent(install_for_load(InstallForLoad(PACKAGE, ISD, b"", parameters)))
    assert ours == hexes(of("gpshell_install", 0xE6)[:1])


def test_gpshell_loads_the_same_blocks() -> None:
    theirs = of("gpshell_install", 0xE8)
    data = b"".join(command.data for command in theirs)
    file = parse_load_file(data)
    assert [(command.p1, command.p2) for command in theirs] == [(0x00, 0), (0x80, 1)]
    assert sent(load(file, size=len(theirs[0].data))) == hexes(theirs)


def test_gpshell_installs_with_one_byte_of_privileges_as_we_do() -> None:
    assert sent(install_for_install(Installation(PACKAGE, APPLET, APPLET))) == hexes(of("gpshell_install", 0xE6)[1:])


def test_gpshell_deletes_as_we_do() -> None:
    assert sent(delete_object(PACKAGE, related=True)) == hexes(of("gpshell_delete", 0xE4))


def test_a_load_file_of_gpshell_brings_its_descriptor_and_has_no_faults() -> None:
    block = parse_load_file(b"".join(command.data for command in of("gpshell_install", 0xE8))).block
    cap = parse_cap(block)
    assert (cap.package.aid, cap.package.version, cap.applet_aids) == (PACKAGE, (1, 0), (APPLET,))
    assert cap.load_block(descriptor=True) == block
    assert lint(cap) == ()


@pytest.mark.parametrize(
    ("session", "kvn", "replace", "inner_length"),
    [("gp_lock", 0x30, 0x30, True), ("gpshell_putauth", 0x30, 0x30, False), ("yubikit", 0x31, 0x00, False)],
)
def test_put_key_of_foreign_hosts_with_inner_length_and_without(
    session: str, kvn: int, replace: int, *, inner_length: bool
) -> None:
    keys = (TEST.enc, TEST.mac, TEST.dek)
    ours = sent(put_key(keys, TEST, kvn=kvn, replace=replace, inner_length=inner_length))
    assert ours == hexes(of(session, 0xD8))
    if inner_length:
        assert sent(put_keys(TEST, TEST, kvn=kvn, replace=replace)) == ours


def test_the_answers_of_a_card_to_put_key_confirm_our_keys() -> None:
    (answer,) = (response for command, response in opened("gpshell_putauth") if command.ins == 0xD8)
    talk(put_keys(TEST, TEST, kvn=0x30, replace=0x30), [answer.encode().hex()])


def test_the_registry_that_a_foreign_host_read_is_read_by_us() -> None:
    answers = {
        command.p1: response.encode().hex() for command, response in opened("gp_list_full") if command.ins == 0xF2
    }
    found = talk(read_registry(), [answers[scope] for scope in (0x80, 0x40, 0x10)])[0]
    assert found.issuer_domain is not None
    assert found.issuer_domain.aid == ISD
    assert [(entry.load_file, entry.security_domain) for entry in found.applications] == [
        (bytes.fromhex("0102030405"), ISD)
    ]
    assert found.packages == ((bytes.fromhex("0102030405"), b"\x01\x00"),)
