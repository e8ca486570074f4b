"""Toolkit parameters of installations, against those of other people's tools."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.codec.message import Message
from keywright.errors import DecodeError
from keywright.scp.scp80 import toolkit_parameters
from keywright.scp.scp80.toolkit_parameters import (
    InstallParameters,
    SimToolkitParameters,
    UiccToolkitParameters,
    minimum_security_level,
    tars,
)
from support.messages import all_messages, check_message
from support.vectors import load, unhex

CASES = {case["name"]: case for case in load("scp/ota_remote_format.json")}


def common(parameters: UiccToolkitParameters | SimToolkitParameters) -> dict[str, Any]:
    return {
        "timers": parameters.timers,
        "max_text": parameters.max_text,
        "menu_entries": [[entry.position, entry.identifier] for entry in parameters.menu],
        "channels": parameters.channels,
        "msl": parameters.msl.hex(),
    }


def test_sim_toolkit_parameters_are_read_and_written_as_recorded() -> None:
    case = CASES["install parameters EF{C8,C7,CA}: SIM toolkit, 7 menu entries 17..23"]
    system = InstallParameters.parse(unhex(case["hex"])).system
    assert system is not None
    assert system.toolkit is not None
    due = case["meaning"] | {"CA": dict(case["meaning"]["CA"])}
    assert (system.non_volatile, system.volatile) == (unhex(due["C8"]), unhex(due["C7"]))
    assert system.toolkit.access_domain == unhex(due["CA"].pop("access_domain"))
    assert system.toolkit.priority == int(due["CA"].pop("priority"), 16)
    assert common(system.toolkit) == due["CA"]
    assert tars(system.toolkit) == ()
    assert minimum_security_level(system.toolkit) == 0
    written = SimToolkitParameters.parse(unhex(case["hex"])[12:])
    assert written.build() == unhex(case["hex"])[12:]


def test_uicc_toolkit_parameters_are_read_and_written_as_recorded() -> None:
    case = CASES["UICC toolkit parameters (EA/80 value) with MSL 12 and TAR B20100"]
    parameters = UiccToolkitParameters.parse(unhex(case["hex"]))
    due = dict(case["meaning"])
    assert parameters.priority == due.pop("priority")
    assert [tar.hex().upper() for tar in tars(parameters)] == due.pop("tars")
    assert due.pop("max_services") == 0
    assert common(parameters) == due
    assert minimum_security_level(parameters) == 0x12
    assert parameters.build() == unhex(case["hex"])


@pytest.mark.parametrize("msl", ["00", "02121212", "020212", "0112"])
def test_a_minimum_security_level_that_is_no_spi1_is_refused(msl: str) -> None:
    raw = bytes.fromhex(msl)
    parameters = UiccToolkitParameters(0, 0, 0, (), 0, raw)
    if raw == b"\x01\x12":
        assert minimum_security_level(parameters) == 0x12
    else:
        with pytest.raises(DecodeError):
            minimum_security_level(parameters)


@pytest.mark.parametrize("cls", all_messages(toolkit_parameters))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)
