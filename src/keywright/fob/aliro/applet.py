"""On-card side of the Aliro applet; `docs/aliro-applet.md` says what each command does.

Two applications share it: one behind the AID of the expedited phase, which has all records, one behind that of the
step-up phase, which works on records and RAM of the first. Records: those of `keywright.aliro.credential`, where
a credential names its key's record; `key/N` is the private key of credential N (PKCS#8), which no command reads, and
`point/N` its public key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, final

import msgspec

from keywright.aliro.credential import CREDENTIALS, CredentialRecord, forget_persistent
from keywright.aliro.dates import parse_timestamp
from keywright.aliro.documents.document import ACCESS, REVOCATION, Document
from keywright.aliro.keys import CURVE
from keywright.aliro.messages import EXPEDITED_AID
from keywright.aliro.profile import Interface
from keywright.aliro.session import Session, State
from keywright.aliro.user_device import NOT_ALLOWED, Settings, UserDevice
from keywright.codec.tlv import item
from keywright.crypto.ec import EcPrivateKey
from keywright.element.applet import Context
from keywright.errors import DecodeError
from keywright.fob.aliro.messages import EXPEDITED_MODULE, STEP_UP_MODULE, Credential, Dgi, Ins, Numbered, PublicKey
from keywright.fob.data_groups import drop_blocks, stored_groups
from keywright.globalplatform.messages import Ins as GpIns
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.level import Level

MAILBOX_BYTES: Final = 2048
"""The largest mailbox the applet has room for."""

_SESSION: Final = "aliro"
_DOCUMENTS: Final = {Dgi.ACCESS_DOCUMENT: "access", Dgi.REVOCATION_DOCUMENT: "revocation"}
_DOC_TYPES: Final = {Dgi.ACCESS_DOCUMENT: ACCESS, Dgi.REVOCATION_DOCUMENT: REVOCATION}


@final
class Wiring:
    """Lines between the element and the radio of the same fob, which no command crosses.

    The radio says over what it carries the commands (`interface`), and takes from `session` the keys that outlive the
    access protocol.
    """

    __slots__ = ("interface", "session")

    def __init__(self) -> None:
        self.interface = Interface.NFC
        self.session = Session()
        """The transaction that was begun last."""


@final
class AliroApplet:
    """The user device behind one of the two AIDs. Keeps no state of its own."""

    ram_group = "aliro"

    def __init__(
        self,
        aid: bytes,
        random: Callable[[int], bytes],
        settings: Settings | None = None,
        *,
        wiring: Wiring | None = None,
        user_is_authenticated: Callable[[], bool] = lambda: False,
    ) -> None:
        """aid: its instance's. wiring: to the radio of the fob, if it has one. The rest as for `UserDevice`."""
        self.aid = aid
        self._random = random
        self._wiring = wiring or Wiring()
        chosen = settings or Settings()
        self._user_devices = {
            interface: UserDevice(
                msgspec.structs.replace(chosen, interface=interface),
                _no_key,
                random,
                user_is_authenticated=user_is_authenticated,
            )
            for interface in Interface
        }

    def select(self, context: Context) -> bytes:
        """What Aliro wants of SELECT; the step-up AID goes on with the transaction of the expedited one."""
        self._wiring.session = session = _session(context)
        return self._user_devices[self._wiring.interface].select(context.aid, session)

    def process(self, command: Command, context: Context) -> Response:
        """The line's commands by the table, all others as the user device has them."""
        act = COMMANDS.get(command.ins)
        if command.ins != GpIns.STORE_DATA:
            drop_blocks(context)
        self._wiring.session = session = _session(context)
        if act is None:
            records = context.on_behalf_of(EXPEDITED_AID)

            def signer(name: bytes) -> EcPrivateKey:
                return _signer(records.read(name.decode()) or b"")

            return self._user_devices[self._wiring.interface].process(command, session, records, signer)
        is_atomic = session.state is State.ATOMIC
        session.erase()
        if is_atomic:
            raise Refusal(NOT_ALLOWED)
        if context.aid != EXPEDITED_AID:
            raise Refusal(SW.INS_NOT_SUPPORTED)
        return act(self, command, context)

    def _generate(self, command: Command, context: Context) -> Response:
        """Make the key pair of a credential, once."""
        context.require(Level.C_MAC)
        number = _number(command.p1)
        if command.p2 or command.data:
            raise Refusal(SW.INCORRECT_P1P2 if command.p2 else SW.INCORRECT_DATA)
        if context.read(f"key/{number}") is not None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        key = EcPrivateKey.draw(CURVE, self._random)
        context.write(f"key/{number}", key.to_pkcs8())
        context.write(f"point/{number}", key.public.point)
        return Response(item(Dgi.PUBLIC_KEY, PublicKey(key.public.point).build()))

    def _get_data(self, command: Command, context: Context) -> Response:
        """A data group of a credential, or its public key; in a session only, because Aliro tells strangers nothing."""
        context.require(Level.C_MAC)
        tag = command.p1 << 8 | command.p2
        if len(command.data) != 1:
            raise Refusal(SW.WRONG_LENGTH)
        number = _number(command.data[0])
        if tag == Dgi.PUBLIC_KEY:
            point = context.read(f"point/{number}")
            content = None if point is None else PublicKey(point).build()
        elif tag == Dgi.CREDENTIAL:
            content = _told(context.read(f"credential/{number}"))
        elif tag == Dgi.MAILBOX:
            content = context.read(f"mailbox/{number}")
        else:
            content = context.read(f"{_DOCUMENTS[tag]}/{number}") if tag in _DOCUMENTS else None
        if content is None:
            raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
        return Response(item(tag, content))

    def _store_data(self, command: Command, context: Context) -> Response:
        """Gather blocks in order; the last one writes every group of the chain at once."""
        for tag, value in stored_groups(command, context, Dgi.WRITABLE) or ():
            try:
                group = Numbered.parse(value)
                _write(context, tag, _number(group.number[0]), group.content)
            except DecodeError:
                raise Refusal(SW.INCORRECT_DATA) from None
        return Response(b"")


def _write(context: Context, tag: int, number: int, content: bytes) -> None:
    if tag == Dgi.CREDENTIAL:
        given = Credential.parse(content)
        point = context.read(f"point/{number}")
        if point is None:
            raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
        times = [given.times[at : at + 20] for at in range(0, len(given.times), 20)]
        for time in times:
            parse_timestamp(time.decode("ascii", "replace"))
        record = CredentialRecord(f"key/{number}".encode(), point, given.groups, given.signaling, *times)
        context.write(f"credential/{number}", record.build())
        forget_persistent(context, number)
    elif tag == Dgi.MAILBOX:
        if len(content) > MAILBOX_BYTES:
            raise Refusal(SW.NOT_ENOUGH_MEMORY)
        context.write(f"mailbox/{number}", content)
    else:
        if content and Document.parse(content).doc_type != _DOC_TYPES[tag]:
            raise Refusal(SW.INCORRECT_DATA)
        context.write(f"{_DOCUMENTS[tag]}/{number}", content or None)


def _told(stored: bytes | None) -> bytes | None:
    """What GET DATA tells of a credential: all but the key."""
    if stored is None:
        return None
    try:
        record = CredentialRecord.parse(stored)
    except DecodeError:
        raise Refusal(SW.MEMORY_FAILURE) from None
    times = (record.credential_signed or b"") + (record.revocation_signed or b"")
    return Credential(record.signaling, record.groups, times).build()


def _session(context: Context) -> Session:
    """The transaction on this channel: RAM."""
    found = context.volatile.get(_SESSION)
    if not isinstance(found, Session):
        found = context.volatile[_SESSION] = Session()
    return found


def _number(value: int) -> int:
    if value >= CREDENTIALS:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    return value


def _no_key(_: bytes) -> EcPrivateKey:
    """The keys are in the records of each element, not in the applet: `process` has them."""
    raise Refusal(SW.CONDITIONS_NOT_SATISFIED)


@functools.lru_cache(maxsize=64)
def _signer(stored: bytes) -> EcPrivateKey:
    return EcPrivateKey.from_pkcs8(stored, CURVE)


def modules(
    random: Callable[[int], bytes],
    settings: Settings | None = None,
    *,
    wiring: Wiring | None = None,
    user_is_authenticated: Callable[[], bool] = lambda: False,
) -> dict[bytes, Callable[[bytes], AliroApplet]]:
    """What an element needs to install it: the maker of each executable module (`SecureElement(factories=...)`)."""

    def make(aid: bytes) -> AliroApplet:
        return AliroApplet(aid, random, settings, wiring=wiring, user_is_authenticated=user_is_authenticated)

    return dict.fromkeys((EXPEDITED_MODULE, STEP_UP_MODULE), make)


COMMANDS: Final[dict[int, Callable[[AliroApplet, Command, Context], Response]]] = {
    Ins.GENERATE_KEY_PAIR: AliroApplet._generate,  # noqa: SLF001 - the table of the class above
    GpIns.GET_DATA: AliroApplet._get_data,  # noqa: SLF001 - as above
    GpIns.STORE_DATA: AliroApplet._store_data,  # noqa: SLF001 - as above
}
"""The line's commands. Every other instruction is for the user device."""
