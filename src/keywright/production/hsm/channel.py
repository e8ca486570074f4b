"""SCP03 with its keys in the token: the host end of one channel, as the client process holds it.

The protocol is `scp.scp03`'s own; here are only the keys it is handed. With `inside-masks` one derivation for each
session key takes a mask xor the challenges; with `inside-encrypt` a second object of the static key, which may encrypt
and lives for the opening, gives what S16 needs in the middle; with `inside-kdf` the token runs the whole derivation;
with `exported` the token MACs and the session keys are in this process's memory.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias, final

from pkcs11 import Mechanism

from keywright.crypto.aes import AesKey
from keywright.crypto.compare import equal
from keywright.errors import PolicyError, SequenceError
from keywright.iso7816.apdu import Command
from keywright.iso7816.channels import with_channel
from keywright.production.hsm.card_keys import CardKeysInside, Part
from keywright.production.hsm.kdf import derive_by_kdf
from keywright.production.hsm.messages import Open
from keywright.production.hsm.token import BLOCK, Handle, TokenSession
from keywright.production.keystores.key_paths import KeyPath
from keywright.production.keystores.key_refs import KeyRef
from keywright.scp.failure import CardCryptogramError
from keywright.scp.scp03.keys import (
    CARD_CRYPTOGRAM,
    HOST_CRYPTOGRAM,
    S_ENC,
    S_MAC,
    S_RMAC,
    SessionKeys,
    derive,
    derive_card_challenge,
)
from keywright.scp.scp03.masks import derivation_data, masked
from keywright.scp.scp03.messages import ANSWERED, EXTERNAL_AUTHENTICATE, NO_IV, I, InitializeUpdateResponse
from keywright.scp.scp03.messaging import HostMessaging

_ICVS: Final = 16
"""Answers whose ICVs are made in one call."""
_ROOM: Final = 64


@final
class TokenMacKey:
    """S-MAC or S-RMAC in the token."""

    __slots__ = ("_handle", "size")

    def __init__(self, handle: Handle, size: int) -> None:
        self._handle = handle
        self.size = size

    def cmac(self, message: bytes) -> bytes:
        """AES-CMAC, 16 bytes."""
        return TokenSession.cmac(self._handle, message)


@final
class TokenEncKey:
    """S-ENC in the token. The ICVs of the next answers (Amd D 6.2.7) are made together, because each call counts."""

    __slots__ = ("_handle", "_icvs")

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._icvs: dict[bytes, bytes] = {}

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC without padding."""
        if iv == NO_IV and len(data) == BLOCK and int.from_bytes(data) & ANSWERED:
            return self._icv(data)
        done: bytes = self._handle.encrypt(
            data, mechanism=Mechanism.AES_CBC, mechanism_param=iv, buffer_size=len(data) + _ROOM
        )
        return done

    def _icv(self, block: bytes) -> bytes:
        if block not in self._icvs:
            counter = int.from_bytes(block)
            blocks = [(counter + ahead).to_bytes(BLOCK) for ahead in range(_ICVS)]
            answer = TokenSession.ecb(self._handle, b"".join(blocks))
            self._icvs = {one: answer[at * BLOCK : (at + 1) * BLOCK] for at, one in enumerate(blocks)}
        return self._icvs.pop(block)

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Inverse of `encrypt_cbc`."""
        done: bytes = self._handle.decrypt(
            data, mechanism=Mechanism.AES_CBC, mechanism_param=iv, buffer_size=len(data) + _ROOM
        )
        return done


class InsideKeys(NamedTuple):
    """Session keys whose values nobody outside the token has; `handles` are destroyed at the end."""

    enc: TokenEncKey
    mac: TokenMacKey
    rmac: TokenMacKey
    handles: tuple[Handle, ...]


Keys: TypeAlias = InsideKeys | SessionKeys


@final
class _Messaging(HostMessaging):
    """Messaging that can begin with EXTERNAL AUTHENTICATE."""

    def authenticate(self, host_cryptogram: bytes, level: int) -> Command:
        command = Command(with_channel(0x80, self.channel), EXTERNAL_AUTHENTICATE, level, 0, host_cryptogram)
        return self._with_mac(command, host_cryptogram)


@final
class Channel:
    """One channel: opened, then authenticated, then in use until `close`."""

    __slots__ = ("_host_cryptogram", "_logical", "_mac_length", "_messaging", "keys", "ref", "size")

    def __init__(self, keys: Keys, question: Open, context: bytes, size: int) -> None:
        self.keys = keys
        self._mac_length = len(question.host_challenge)
        self._host_cryptogram = derive(keys.mac, HOST_CRYPTOGRAM, context, self._mac_length)
        self._logical = question.channel
        self._messaging: _Messaging | None = None
        self.ref = question.ref
        self.size = size

    def authenticate(self, level: int, *, pads_empty: bool) -> Command:
        """EXTERNAL AUTHENTICATE. Raises SequenceError for a second one."""
        if self._messaging is not None:
            raise SequenceError("this channel was authenticated already")
        self._messaging = _Messaging(self.keys, self._mac_length, level, self._logical, pads_empty=pads_empty)
        return self._messaging.authenticate(self._host_cryptogram, level)

    @property
    def messaging(self) -> HostMessaging:
        """Wraps and unwraps. Raises SequenceError before `authenticate`."""
        if self._messaging is None:
            raise SequenceError("this channel was not authenticated yet")
        return self._messaging

    def close(self) -> None:
        """Destroy the session keys."""
        if isinstance(self.keys, InsideKeys):
            for handle in self.keys.handles:
                handle.destroy()


def open_channel(keys: CardKeysInside, question: Open) -> Channel:
    """Derive a session and check the card cryptogram.

    Raises CardCryptogramError, and PolicyError for a path that cannot be had.
    """
    answer = question.initialize_update()
    context = question.host_challenge + answer.card_challenge
    session, size = session_keys(keys, question.ref, KeyPath(question.path), context)
    try:
        _check_cryptogram(session, context, answer)
        if question.aid is not None and answer.i & I.PSEUDO_RANDOM:
            _check_challenge(keys, question, answer.sequence_counter, answer.card_challenge)
        return Channel(session, question, context, size)
    except BaseException:
        if isinstance(session, InsideKeys):
            for handle in session.handles:
                handle.destroy()
        raise


def _check_cryptogram(session: Keys, context: bytes, answer: InitializeUpdateResponse) -> None:
    expected = derive(session.mac, CARD_CRYPTOGRAM, context, len(answer.card_cryptogram))
    if not equal(expected, answer.card_cryptogram):
        raise CardCryptogramError(f"card cryptogram wrong (KVN {answer.kvn:02X}, SCP03 i={answer.i:02X})")


def _check_challenge(keys: CardKeysInside, question: Open, counter: bytes, challenge: bytes) -> None:
    with keys.static(question.ref, "enc", "static-sign") as handle:
        signer = TokenMacKey(handle, keys.facts(question.ref).size)
        expected = derive_card_challenge(signer, counter, question.aid or b"", len(question.host_challenge))
    if not equal(expected, challenge):
        raise CardCryptogramError("card challenge is not the pseudo-random one of this counter and application")


def session_keys(keys: CardKeysInside, ref: KeyRef, path: KeyPath, context: bytes) -> tuple[Keys, int]:
    """Session keys by one of the paths, and their size in bytes."""
    facts = keys.facts(ref)
    size = facts.size
    if path is KeyPath.EXPORTED:
        with keys.static(ref, "enc", "static-sign") as enc, keys.static(ref, "mac", "static-sign") as mac:
            signers = TokenMacKey(enc, size), TokenMacKey(mac, size)
            return (
                SessionKeys(
                    AesKey(derive(signers[0], S_ENC, context, size), "S-ENC"),
                    AesKey(derive(signers[1], S_MAC, context, size), "S-MAC"),
                    AesKey(derive(signers[1], S_RMAC, context, size), "S-RMAC"),
                ),
                size,
            )
    if path is KeyPath.MASKS:
        if len(context) != BLOCK:
            raise PolicyError(
                "S16 has no constant masks", hint='choose session_keys = "encrypt" or "export" in the recipe'
            )
        data = {name: masked(facts.masks[name], context) for name in ("enc", "mac", "rmac")}
    elif path is KeyPath.ENCRYPT:
        data = _data_by_encryption(keys, ref, size, context)
    elif path is KeyPath.KDF:
        return _by_kdf(keys, ref, size, context), size
    else:
        raise PolicyError(f"a token opens no channel by the path {path}")
    return _derived(keys, ref, size, data), size


def _data_by_encryption(keys: CardKeysInside, ref: KeyRef, size: int, context: bytes) -> dict[str, bytes]:
    found = {}
    wanted: tuple[tuple[Part, tuple[tuple[int, str], ...]], ...] = (
        ("enc", ((S_ENC, "enc"),)),
        ("mac", ((S_MAC, "mac"), (S_RMAC, "rmac"))),
    )
    for part, constants in wanted:
        with keys.static(ref, part, "static-encrypt") as handle:
            for constant, name in constants:
                found[name] = derivation_data(_encrypting(handle), constant, size, context)
    return found


def _encrypting(handle: Handle) -> Any:
    return lambda blocks: TokenSession.ecb(handle, blocks)


def _derived(keys: CardKeysInside, ref: KeyRef, size: int, data: dict[str, bytes]) -> InsideKeys:
    made: list[Handle] = []
    try:
        with keys.static(ref, "enc", "static") as static:
            made.append(keys.session.derive(static, data["enc"], size, "s-enc"))
        with keys.static(ref, "mac", "static") as static:
            made.append(keys.session.derive(static, data["mac"], size, "s-mac"))
            made.append(keys.session.derive(static, data["rmac"], size, "s-mac"))
    except BaseException:
        for handle in made:
            handle.destroy()
        raise
    return _inside(made, size)


def _by_kdf(keys: CardKeysInside, ref: KeyRef, size: int, context: bytes) -> InsideKeys:
    made: list[Handle] = []
    try:
        with keys.static(ref, "enc", "static") as static:
            made.append(derive_by_kdf(static, S_ENC, size, context, "s-enc"))
        with keys.static(ref, "mac", "static") as static:
            made.append(derive_by_kdf(static, S_MAC, size, context, "s-mac"))
            made.append(derive_by_kdf(static, S_RMAC, size, context, "s-mac"))
    except BaseException:
        for handle in made:
            handle.destroy()
        raise
    return _inside(made, size)


def _inside(made: list[Handle], size: int) -> InsideKeys:
    enc, mac, rmac = made
    return InsideKeys(TokenEncKey(enc), TokenMacKey(mac, size), TokenMacKey(rmac, size), tuple(made))
