"""What a refusal most likely means: for each command and status word, the cause and what to do about it.

A status word alone says little: 6985 to INSTALL is another thing than 6985 to DELETE. The table is asked first, then
what the status word means anywhere (`iso7816.status`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from keywright.errors import StatusError
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import SW, meaning

TEST_KVN: Final = 0xFF
"""Key version number of the initial keys, which very often are the published test keys."""


class Remedy(NamedTuple):
    """The likely cause of a refusal, and what a person can do next."""

    cause: str
    hint: str = ""


_SESSION: Final = Remedy(
    "no session at the level this command needs, or its protection was wrong", "open a secure channel first"
)
_SESSION_OR_TOKEN: Final = Remedy(
    "no session at the level this command needs, or a token that is missing or wrong",
    "open a secure channel first; under a domain with delegated management, sign the command",
)
_NO_ROOM: Final = Remedy("the card's memory is full", "delete what is not needed; look with `card info`")
_LOCKED: Final = Remedy(
    "the card is locked or terminated, or does not have this function", "look at its life cycle with `card list`"
)
_TOKEN: Final = Remedy(
    "the token was refused, or the domain may not do this without one",
    "sign exactly the command that is sent, with the token key of the domain that verifies",
)

REMEDIES: Final[Mapping[tuple[int, int], Remedy]] = {
    (Ins.SELECT, SW.NOT_FOUND): Remedy(
        "no application has this AID", "list what is there with `card list`; an AID may be given by its beginning"
    ),
    (Ins.SELECT, SW.SELECT_FAILED): Remedy("the application is there but refused to be selected"),
    (Ins.SELECT, SW.FUNCTION_NOT_SUPPORTED): Remedy(
        "the card is locked or terminated: only its final application answers", "unlock it with `card unlock`"
    ),
    (Ins.SELECT, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "the application is selected on another channel and does not allow two", "close that channel"
    ),
    (Ins.INITIALIZE_UPDATE, SW.REFERENCED_DATA_NOT_FOUND): Remedy(
        "the domain has no key set with this version number", "list its key sets with `card keys`"
    ),
    (Ins.INITIALIZE_UPDATE, SW.AUTHENTICATION_BLOCKED): Remedy("too many wrong tries; this key set is blocked"),
    (Ins.INITIALIZE_UPDATE, SW.INS_NOT_SUPPORTED): Remedy(
        "what is selected is no security domain", "select the domain first"
    ),
    (Ins.INITIALIZE_UPDATE, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "the domain has no keys of its own yet, or a channel is open elsewhere",
        "authenticate to the domain above it and put its first keys from there",
    ),
    (Ins.EXTERNAL_AUTHENTICATE, SW.AUTHENTICATION_FAILED): Remedy(
        "the card does not accept our cryptogram; it counted this",
        "do not try again with the same keys; find the right ones with `card keys detect`",
    ),
    (Ins.EXTERNAL_AUTHENTICATE, SW.SECURITY_STATUS_NOT_SATISFIED): Remedy(
        "the C-MAC was wrong, or the card does not offer this level", "ask for another security level"
    ),
    (Ins.GET_DATA, SW.REFERENCED_DATA_NOT_FOUND): Remedy(
        "the card has no such data object", "what it has is in `card info`"
    ),
    (Ins.GET_STATUS, SW.REFERENCED_DATA_NOT_FOUND): Remedy("nothing on the card matches"),
    (Ins.GET_STATUS, SW.SECURITY_STATUS_NOT_SATISFIED): _SESSION,
    (Ins.GET_STATUS, SW.INCORRECT_P1P2): Remedy(
        "the card does not list this subset or in this format", "ask for the old format, or without modules"
    ),
    (Ins.SET_STATUS, SW.SECURITY_STATUS_NOT_SATISFIED): _SESSION,
    (Ins.SET_STATUS, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "this life cycle state cannot follow the present one", "look at the present one with `card list`"
    ),
    (Ins.SET_STATUS, SW.INCORRECT_DATA): Remedy("the state does not exist, or needs a privilege the domain lacks"),
    (Ins.SET_STATUS, SW.REFERENCED_DATA_NOT_FOUND): Remedy("no application has this AID", "list them with `card list`"),
    (Ins.INSTALL, SW.SECURITY_STATUS_NOT_SATISFIED): _SESSION_OR_TOKEN,
    (Ins.INSTALL, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "the AID is taken, a load was not finished, the domain may not do this, or no domain verifies tokens",
        "list what is there with `card list`; delete the old instance or load file first; "
        "a token needs a domain with the privilege token verification",
    ),
    (Ins.INSTALL, SW.INCORRECT_DATA): Remedy(
        "a field is wrong, a privilege conflicts with another, or the applet refused its parameters",
        "check privileges and parameters (C9), and the load file's imports; under delegated management sign it",
    ),
    (Ins.INSTALL, SW.REFERENCED_DATA_NOT_FOUND): Remedy(
        "load file, module, application or security domain is not on the card", "list what is there with `card list`"
    ),
    (Ins.INSTALL, SW.NOT_ENOUGH_MEMORY): _NO_ROOM,
    (Ins.INSTALL, SW.FUNCTION_NOT_SUPPORTED): _LOCKED,
    (Ins.INSTALL, SW.INCORRECT_P1P2): Remedy(
        "the card does not know this kind of INSTALL, or takes no chained commands", "do its steps one by one"
    ),
    (Ins.INSTALL, SW.AUTHENTICATION_FAILED): _TOKEN,
    (Ins.LOAD, SW.SECURITY_STATUS_NOT_SATISFIED): Remedy(
        "no session at the level this command needs, or a DAP signature that is missing or wrong",
        "open a secure channel first; sign the load file hash for every domain that demands it",
    ),
    (Ins.LOAD, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "blocks out of order, or no INSTALL [for load] before them; the load is aborted", "begin the load again"
    ),
    (Ins.LOAD, SW.INCORRECT_DATA): Remedy(
        "the load file is damaged, its hash or signature is wrong, or a package it imports is not on the card",
        "check its imports against what the card has",
    ),
    (Ins.LOAD, SW.AUTHENTICATION_FAILED): Remedy(
        "a DAP signature was refused", "sign the load file hash with the key of the domain that verifies"
    ),
    (Ins.LOAD, SW.REFERENCED_DATA_NOT_FOUND): Remedy(
        "a package that the load file imports is not on the card, or not in this version", "load what it imports first"
    ),
    (Ins.LOAD, SW.NOT_ENOUGH_MEMORY): _NO_ROOM,
    (Ins.LOAD, SW.EXECUTION_ERROR): Remedy("the card could not link the load file", "check imports and versions"),
    (Ins.LOAD, SW.INCORRECT_P1P2): Remedy("blocks out of order; the load is aborted", "begin the load again"),
    (Ins.DELETE, SW.SECURITY_STATUS_NOT_SATISFIED): _SESSION_OR_TOKEN,
    (Ins.DELETE, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "something on the card still uses it: an instance, an import, or it is the last key set",
        "delete its instances first, or with what is related",
    ),
    (Ins.DELETE, SW.REFERENCED_DATA_NOT_FOUND): Remedy("no such object or key", "list what is there with `card list`"),
    (Ins.DELETE, SW.NOT_FOUND): Remedy("no such application", "list what is there with `card list`"),
    (Ins.DELETE, SW.AUTHENTICATION_FAILED): _TOKEN,
    (Ins.PUT_KEY, SW.SECURITY_STATUS_NOT_SATISFIED): Remedy(
        "no session, or a key did not arrive as its check value says",
        "the keys are encrypted under the session's data encryption key: check that K-DEK is the card's",
    ),
    (Ins.PUT_KEY, SW.KCV_WRONG): Remedy(
        "a key did not arrive as its check value says", "check that K-DEK is the card's"
    ),
    (Ins.PUT_KEY, SW.INCORRECT_DATA): Remedy(
        "key type, size or version is not accepted, or a key with this version is there already",
        "replace it instead of adding, or choose another version number",
    ),
    (Ins.PUT_KEY, SW.REFERENCED_DATA_NOT_FOUND): Remedy(
        "the key set to be replaced is not there", "list its key sets with `card keys`; add instead of replacing"
    ),
    (Ins.PUT_KEY, SW.NOT_ENOUGH_MEMORY): Remedy("no room for another key set", "replace one, or delete an old one"),
    (Ins.PUT_KEY, SW.ALGORITHM_NOT_SUPPORTED): Remedy("the card does not take keys of this type"),
    (Ins.PUT_KEY, SW.INCORRECT_P1P2): Remedy(
        "key version or identifier is not accepted, or the card takes no chained commands"
    ),
    (Ins.STORE_DATA, SW.SECURITY_STATUS_NOT_SATISFIED): _SESSION,
    (Ins.STORE_DATA, SW.INCORRECT_DATA): Remedy("the data are not built as P1 says, or the object is not known"),
    (Ins.STORE_DATA, SW.CONDITIONS_NOT_SATISFIED): Remedy(
        "blocks out of order, or the application is in no state to be personalized", "begin again with block 00"
    ),
    (Ins.STORE_DATA, SW.INCORRECT_P1P2): Remedy("the structure or encryption in P1 is not supported here"),
    (Ins.STORE_DATA, SW.REFERENCED_DATA_NOT_FOUND): Remedy("the data refer to a key or object that is not there"),
    (Ins.MANAGE_CHANNEL, SW.FUNCTION_NOT_SUPPORTED): Remedy("no more logical channels, or none at all on this card"),
    (Ins.MANAGE_CHANNEL, SW.CHANNEL_NOT_SUPPORTED): Remedy("this logical channel cannot be opened or closed from here"),
}


def remedy(ins: int, sw: int) -> Remedy:
    """Cause and remedy of a refusal: of this command, or else of the status word anywhere."""
    known = REMEDIES.get((ins, sw))
    if known is not None:
        return known
    general = meaning(sw)
    return Remedy(general.text, general.hint)


def refusal(command: Command, sw: int, doing: str) -> StatusError:
    """The error of a refused command, with its likely cause. `doing` names it for a person."""
    known = remedy(command.ins, sw)
    return StatusError(sw, doing, meaning=known.cause, hint=known.hint)


def demand(command: Command, response: Response, doing: str) -> bytes:
    """Data of a successful answer (9000). Raises StatusError with its likely cause for every other status."""
    if response.sw != SW.OK:
        raise refusal(command, response.sw, doing)
    return response.data


def wrong_keys(asked: int, answered: int, tried: str, *, is_test_set: bool = False) -> Remedy:
    """What a card cryptogram that does not match most likely means.

    asked: key version number of INITIALIZE UPDATE, 0 for the default. answered: the one that the card named. tried: the
    key set that was used, in words. is_test_set: it is the published test set.
    """
    hint = "nothing was counted on the card; find the right set with `card keys detect`"
    named = f"the card answered with KVN {answered:02X}"
    if is_test_set and answered != TEST_KVN:
        return Remedy(f"{tried} is the test key set, but {named}: it probably has keys of its own", hint)
    if not is_test_set and answered == TEST_KVN:
        return Remedy(f"{tried} was tried, but {named}: it probably still has its initial keys", hint)
    if asked and asked != answered:
        return Remedy(f"KVN {asked:02X} was asked for, but {named}", hint)
    return Remedy(f"{tried} does not match the keys of KVN {answered:02X}; is a diversification scheme missing?", hint)
