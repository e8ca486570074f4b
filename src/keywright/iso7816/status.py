"""Status words: their names, what they mean, and what to do about them (ISO 7816-4 5.6, GPCS 11.1.3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from keywright.errors import StatusError
from keywright.iso7816.apdu import Response


class SW:
    """Status words by name."""

    OK: Final = 0x9000
    LOGICAL_CHANNEL_CLOSED: Final = 0x6200
    SELECTED_BUT_INVALIDATED: Final = 0x6283
    AUTHENTICATION_FAILED: Final = 0x6300
    MORE_DATA: Final = 0x6310
    EXECUTION_ERROR: Final = 0x6400
    MEMORY_FAILURE: Final = 0x6581
    WRONG_LENGTH: Final = 0x6700
    CHANNEL_NOT_SUPPORTED: Final = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED: Final = 0x6882
    LAST_COMMAND_EXPECTED: Final = 0x6883
    CHAINING_NOT_SUPPORTED: Final = 0x6884
    SECURITY_STATUS_NOT_SATISFIED: Final = 0x6982
    AUTHENTICATION_BLOCKED: Final = 0x6983
    CONDITIONS_NOT_SATISFIED: Final = 0x6985
    SELECT_FAILED: Final = 0x6999
    INCORRECT_DATA: Final = 0x6A80
    FUNCTION_NOT_SUPPORTED: Final = 0x6A81
    NOT_FOUND: Final = 0x6A82
    NOT_ENOUGH_MEMORY: Final = 0x6A84
    INCORRECT_P1P2: Final = 0x6A86
    REFERENCED_DATA_NOT_FOUND: Final = 0x6A88
    INS_NOT_SUPPORTED: Final = 0x6D00
    CLA_NOT_SUPPORTED: Final = 0x6E00
    NO_DIAGNOSIS: Final = 0x6F00
    ALGORITHM_NOT_SUPPORTED: Final = 0x9484
    KCV_WRONG: Final = 0x9485


class Meaning(NamedTuple):
    """What a status word says, and what a person can do next."""

    name: str
    text: str
    hint: str = ""


_MEANINGS: Final = {
    SW.OK: Meaning("ok", "done"),
    SW.LOGICAL_CHANNEL_CLOSED: Meaning("logical channel closed", "the logical channel was closed already"),
    SW.SELECTED_BUT_INVALIDATED: Meaning(
        "selected, locked", "selected, but the card or application is locked", "unlock it with SET STATUS first"
    ),
    SW.AUTHENTICATION_FAILED: Meaning(
        "authentication failed",
        "the card does not accept our cryptogram",
        "the card counted this; find the right key set before another try",
    ),
    SW.MORE_DATA: Meaning("more data", "more data is available", "repeat the command for the next part"),
    SW.EXECUTION_ERROR: Meaning("execution error", "the command failed, no diagnosis given"),
    SW.MEMORY_FAILURE: Meaning("memory failure", "the card could not write its memory", "the card may be worn out"),
    SW.WRONG_LENGTH: Meaning("wrong length", "the length of the command or its data is wrong"),
    SW.CHANNEL_NOT_SUPPORTED: Meaning(
        "logical channel not supported", "this logical channel is not open", "open it with MANAGE CHANNEL"
    ),
    SW.SECURE_MESSAGING_NOT_SUPPORTED: Meaning("secure messaging not supported", "no secure messaging here"),
    SW.LAST_COMMAND_EXPECTED: Meaning("last command expected", "a chain of commands was not finished"),
    SW.CHAINING_NOT_SUPPORTED: Meaning("chaining not supported", "the card takes no chained commands"),
    SW.SECURITY_STATUS_NOT_SATISFIED: Meaning(
        "security status not satisfied",
        "the command needs an authenticated session, or its protection was wrong",
        "open a secure channel at the level the command needs",
    ),
    SW.AUTHENTICATION_BLOCKED: Meaning(
        "authentication blocked", "too many wrong tries; this key set is blocked", "the card cannot be opened with it"
    ),
    SW.CONDITIONS_NOT_SATISFIED: Meaning(
        "conditions of use not satisfied", "the card's state or life cycle does not allow this now"
    ),
    SW.SELECT_FAILED: Meaning("select failed", "the application refused to be selected"),
    SW.INCORRECT_DATA: Meaning("incorrect data", "the data field is wrong"),
    SW.FUNCTION_NOT_SUPPORTED: Meaning(
        "function not supported", "not available, for example because the card is locked or terminated"
    ),
    SW.NOT_FOUND: Meaning("not found", "no such application or file", "list what is there: keywright card list"),
    SW.NOT_ENOUGH_MEMORY: Meaning("not enough memory", "the card's memory is full"),
    SW.INCORRECT_P1P2: Meaning("incorrect P1 P2", "P1 or P2 is wrong"),
    SW.REFERENCED_DATA_NOT_FOUND: Meaning(
        "referenced data not found", "no such key set or data object", "look at the key sets: keywright card keys"
    ),
    SW.INS_NOT_SUPPORTED: Meaning(
        "instruction not supported", "the selected application does not know this command", "select the right one"
    ),
    SW.CLA_NOT_SUPPORTED: Meaning("class not supported", "the class byte is not supported"),
    SW.NO_DIAGNOSIS: Meaning("no diagnosis", "the card failed without saying why"),
    SW.ALGORITHM_NOT_SUPPORTED: Meaning("algorithm not supported", "the card does not support this key type"),
    SW.KCV_WRONG: Meaning("key check value wrong", "the key did not arrive as its check value says"),
}

_FAMILIES: Final = {
    0x61: Meaning("more data waiting", "{low} more bytes wait for GET RESPONSE"),
    0x62: Meaning("warning", "done, with a warning; memory unchanged"),
    0x63: Meaning("warning", "done, with a warning; memory changed"),
    0x64: Meaning("execution error", "failed; memory unchanged"),
    0x65: Meaning("execution error", "failed; memory changed"),
    0x66: Meaning("security issue", "a security check of the card failed"),
    0x68: Meaning("function in CLA not supported", "the class byte asks for something unsupported"),
    0x69: Meaning("command not allowed", "the command is not allowed now"),
    0x6A: Meaning("wrong parameters", "P1, P2 or the data are wrong"),
    0x6C: Meaning("wrong Le", "the right Le is {low}"),
}


def is_ok(sw: int) -> bool:
    """9000 or 61xx."""
    return sw == SW.OK or sw >> 8 == 0x61


def is_warning(sw: int) -> bool:
    """62xx or 63xx."""
    return sw >> 8 in (0x62, 0x63)


def meaning(sw: int) -> Meaning:
    """Name, explanation and hint of any status word."""
    known = _MEANINGS.get(sw)
    if known is not None:
        return known
    if sw & 0xFFF0 == 0x63C0:
        return Meaning("counter", f"wrong; {sw & 0xF} tries left", "do not repeat it with the same value")
    family = _FAMILIES.get(sw >> 8)
    if family is not None:
        return Meaning(family.name, family.text.format(low=sw & 0xFF or 256), family.hint)
    return Meaning("unknown", "not a status word we know")


def status_error(sw: int, doing: str) -> StatusError:
    """The error that says which command was refused, what the status means and what to do."""
    known = meaning(sw)
    return StatusError(sw, doing, meaning=known.text, hint=known.hint)


def check(response: Response, doing: str) -> bytes:
    """Data of a successful answer (9000). Raises StatusError naming `doing` for every other status."""
    if response.sw != SW.OK:
        raise status_error(response.sw, doing)
    return response.data
