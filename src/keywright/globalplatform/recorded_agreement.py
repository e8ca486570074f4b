"""Session keys of a recorded SCP11 handshake, for whoever has the host's private keys, the ephemeral one included.

What the host did is done again: the card's key comes from its certificate, as the recording has it, or from the caller.
The receipt says whether the keys are right.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, final

import msgspec

from keywright.codec.tlv import item
from keywright.crypto.compare import equal
from keywright.crypto.ec import EcPublicKey
from keywright.errors import DecodeError, KeywrightError
from keywright.iso7816.apdu import Command, Response
from keywright.scp.scp03.keys import SessionKeys
from keywright.scp.scp11.certificates import parse_certificate, parse_certificate_stores
from keywright.scp.scp11.keys import AgreementKey, Identifiers, derive, make_receipt, shared_info
from keywright.scp.scp11.messages import (
    CERTIFICATE_STORE,
    GET_DATA,
    PUBLIC_KEY,
    VARIANTS,
    Authenticate,
    AuthenticateAnswer,
    Variant,
)
from keywright.scp.scp11.profile import Ecka, GroupId, Profile

_PARAMETER: Final = 0x03
"""Bits b2 b1 of the parameter: the variant."""
_AGREEMENTS: Final[tuple[Ecka, ...]] = ("x", "sha1")
_GROUPS: Final[tuple[GroupId, ...]] = ("lv", "raw")
_IIN, _CIN = 0x0042, 0x0045


@final
class RecordedAgreement:
    """Looks at the exchanges of one card and tells the session keys of a handshake.

    keys: private keys of the host, static and ephemeral, in any order. card_keys and group_ids: static keys and
    CardGroupID of the card, where the recording does not have its certificate.
    """

    def __init__(
        self,
        keys: Sequence[AgreementKey],
        card_keys: Sequence[EcPublicKey] = (),
        group_ids: Sequence[bytes] = (),
    ) -> None:
        self._keys = keys
        self._card_keys = list(card_keys)
        self._groups = list(group_ids)
        self._identifiers: dict[int, bytes] = {}

    def see(self, command: Command, response: Response | None) -> None:
        """Remember the certificates and identifiers that the card gives out."""
        if response is None or command.ins != GET_DATA or not response.data:
            return
        number = command.p1 << 8 | command.p2
        if number == CERTIFICATE_STORE:
            self._certificates(response.data)
        elif number in (_IIN, _CIN):
            self._identifiers[number] = response.data[2:] if command.cla & 0x80 else response.data

    def _certificates(self, data: bytes) -> None:
        try:
            found = [parse_certificate(chain[-1]) for chain in parse_certificate_stores(data) if chain]
        except DecodeError:
            return
        self._card_keys += [one.public_key for one in found if one.public_key is not None]
        self._groups += [one.subject_id for one in found]

    def session(self, command: Command, response: Response) -> SessionKeys | None:
        """The session keys of MUTUAL or INTERNAL AUTHENTICATE; None when no combination gives the receipt."""
        try:
            asked, answered = Authenticate.parse(command.data), AuthenticateAnswer.parse(response.data)
        except DecodeError:
            return None
        parameter = asked.control.protocol.parameter & _PARAMETER
        variant = next((v for v in VARIANTS if (v.ins, v.parameter) == (command.ins, parameter)), None)
        ephemeral = next((key for key in self._keys if key.public.point == asked.public_key), None)
        if variant is None or ephemeral is None or answered.receipt is None:
            return None
        statics = [key for key in self._keys if key is not ephemeral] if variant.authenticates_host else [ephemeral]
        signed = item(PUBLIC_KEY, answered.public_key)
        for static, card_key in itertools.product(statics, self._card_keys):
            try:
                peer = EcPublicKey.from_point(card_key.curve, answered.public_key)
                shared = (ephemeral.agree(peer), static.agree(card_key))
            except KeywrightError:
                continue
            for info, layout in self._infos(variant, asked):
                secrets = derive(*shared, info, asked.control.key_length, layout)
                if equal(make_receipt(secrets.receipt, command.data, signed), answered.receipt):
                    return secrets.session
        return None

    def _infos(self, variant: Variant, asked: Authenticate) -> Iterator[tuple[bytes, Profile]]:
        """Every SharedInfo that the exchange allows, and the layout it belongs to."""
        control, seen = asked.control, self._identifiers
        for ecka, group_id in itertools.product(_AGREEMENTS, _GROUPS):
            layout = msgspec.structs.replace(Profile(), ecka=ecka, group_id=group_id)
            if control.host_id is None:
                yield shared_info(variant, control.usage, control.key_length, None, layout), layout
                continue
            for group in self._groups or [b""]:
                names = Identifiers(control.host_id, seen.get(_IIN, b""), seen.get(_CIN, b""), group)
                yield shared_info(variant, control.usage, control.key_length, names, layout), layout
