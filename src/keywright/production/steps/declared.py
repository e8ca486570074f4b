"""The one table of what the steps do: every action, how it is found out again, and whether it can be undone.

An action that changes the unit is an intent in the store before its first command leaves; the names here are those of
the intents. `docs/unit-store.md` shows this table; a test runs the steps and compares what they record with it.
"""

from __future__ import annotations

from typing import Final

from keywright.production.control.declaration import Action, Declaration

_CANNOT: Final = ""
_NOTHING: Final = "nothing to undo"

DECLARED: Final[dict[str, Declaration]] = {
    "identify": Declaration(
        actions=(
            Action(
                name="identify",
                kind="device",
                does="GET DATA: CPLC, IIN, CIN, card data, key information",
                retry="again",
                repair="read again",
                undo=_NOTHING,
            ),
        ),
        timeout_s=30.0,
    ),
    "authenticate": Declaration(
        actions=(
            Action(
                name="session.factory",
                kind="device",
                does="EXTERNAL AUTHENTICATE with the factory keys",
                retry="proof",
                probe="INITIALIZE UPDATE alone: does the card cryptogram fit?",
                applied="it cannot be known; costs one more try",
                repair="a mismatch is recorded and the unit set aside, without a try",
                undo=_CANNOT,
            ),
        ),
        timeout_s=30.0,
    ),
    "own_keys": Declaration(
        prepares_from=("kdd",),
        actions=(
            Action(
                name="own_keys.derive",
                kind="hsm",
                does="derive the unit's key set from the master",
                retry="again",
                repair="derive again: the same keys",
                undo=_NOTHING,
            ),
            Action(
                name="own_keys.put",
                kind="device",
                does="PUT KEY",
                retry="probe",
                probe="do the new keys answer? else: are they not listed, and do the factory keys answer?",
                applied="go on to the proof",
                repair="PUT KEY again",
                undo="DELETE of the new set, while the factory set is there",
            ),
            Action(
                name="session.own",
                kind="device",
                does="EXTERNAL AUTHENTICATE with the new keys",
                retry="proof",
                probe="as `session.factory`",
                applied="as `session.factory`",
                repair="as `session.factory`",
                undo=_CANNOT,
            ),
            Action(
                name="own_keys.remove",
                kind="device",
                does="DELETE of the factory set, only where the card has kept it",
                retry="probe",
                probe="is it still listed?",
                applied="go on",
                repair="DELETE again",
                undo=_CANNOT,
            ),
        ),
    ),
    "personalise": Declaration(
        prepares_from=("public_key",),
        actions=(
            Action(
                name="personalise.generate",
                kind="device",
                does="GENERATE KEY PAIR",
                retry="probe",
                probe="is there a public key?",
                applied="certify that one",
                repair="generate",
                undo="generate another, as long as the first has no certificate",
            ),
            Action(
                name="personalise.certify",
                kind="hsm",
                does="sign the certificate; its row is durable before it is sent",
                retry="again",
                probe="is there a certificate of this unit in the store?",
                applied="use it again",
                repair="issue it",
                undo=_CANNOT,
            ),
            Action(
                name="personalise.write",
                kind="device",
                does="STORE DATA",
                retry="probe",
                probe="do all groups read back?",
                applied="go on",
                repair="write again",
                undo="write other data",
            ),
        ),
        timeout_s=120.0,
    ),
    "aliro": Declaration(
        actions=(
            Action(
                name="aliro.install",
                kind="device",
                does="INSTALL [for load], LOAD, INSTALL [for install and make selectable] of both applications",
                retry="probe",
                probe="does GET STATUS list both?",
                applied="go on",
                repair="DELETE what there is of it, then load and install",
                undo="DELETE of the load file and its applications",
            ),
            Action(
                name="aliro.generate",
                kind="device",
                does="GENERATE KEY PAIR of credential 0",
                retry="probe",
                probe="is there a public key?",
                applied="use that one",
                repair="generate",
                undo="DELETE of the load file and its applications",
            ),
            Action(
                name="aliro.write",
                kind="device",
                does="STORE DATA: readers, Access Document, mailbox; the document is durable before it is sent",
                retry="probe",
                probe="do all groups read back as intended?",
                applied="go on",
                repair="write again, the same document",
                undo="write other data",
            ),
        ),
        timeout_s=120.0,
    ),
    "lock_down": Declaration(
        actions=(
            Action(
                name="lock_down.initialized",
                kind="device",
                does="SET STATUS",
                retry="probe",
                probe="which state does GET STATUS tell?",
                applied="go on",
                repair="SET STATUS again",
                undo=_CANNOT,
            ),
            Action(
                name="lock_down.secured",
                kind="device",
                does="SET STATUS",
                retry="probe",
                probe="which state does GET STATUS tell?",
                applied="go on",
                repair="SET STATUS again",
                undo=_CANNOT,
            ),
            Action(
                name="lock_down",
                kind="device",
                does="a fresh session reads back everything public",
                retry="again",
                repair="read again",
                undo=_NOTHING,
            ),
        ),
    ),
    "mesh.provision": Declaration(
        actions=(
            Action(
                name="mesh.provision.give",
                kind="device",
                does="a link, Invite … Data; address, device key and NetKey index are durable before Data leaves",
                retry="probe",
                probe="Composition Data Get under the device key, and the beacon of an unprovisioned device",
                applied="go on to the proof",
                repair="provision again, with the same address and another device key",
                undo="Config Node Reset",
            ),
            Action(
                name="mesh.provision.ask",
                kind="device",
                does="Composition Data Get, as probe and as proof; its turn is durable before it is sent",
                retry="again",
                repair="ask again, with other sequence numbers",
                undo=_NOTHING,
            ),
        ),
        timeout_s=120.0,
    ),
}
"""Step -> declaration, in the order of a recipe."""
