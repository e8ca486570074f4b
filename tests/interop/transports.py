"""Models of what lies between a foreign host and PC/SC: who follows 61xx and 6Cxx, with which class, who strips Le.

A host on T=0 may not send Le behind data; the card then keeps its answer for GET RESPONSE. The element behaves so
behind an answer to reset that names T=0 alone.
"""

from __future__ import annotations

from typing import Final

from interop.foreign import ForeignError, Transmit

GET_RESPONSE: Final = 0xC0
_ROUNDS: Final = 256


def is_case_4(apdu: bytes) -> bool:
    """Whether a short command has data and Le."""
    return len(apdu) > 6 and bool(apdu[4]) and len(apdu) == 6 + apdu[4]


def is_extended(apdu: bytes) -> bool:
    """Whether a command has extended length fields."""
    return len(apdu) >= 7 and not apdu[4]


def javax(transmit: Transmit, *, t0: bool = False) -> Transmit:
    """javax.smartcardio (JDK 17, `sun.security.smartcardio.ChannelImpl`): follows 61xx and 6Cxx under both protocols.

    GET RESPONSE has the class of the command, its secure messaging bits too. On T=0 it refuses extended length and
    strips Le behind data.
    """

    def through(apdu: bytes) -> bytes:
        if t0 and is_extended(apdu):
            raise ForeignError("extended length forms not supported for T=0")
        if t0 and is_case_4(apdu):
            apdu = apdu[:-1]
        whole, command = b"", apdu
        for _ in range(_ROUNDS):
            answer = transmit(command)
            if len(answer) == 2 and answer[0] == 0x6C:
                command = apdu[: 4 if len(apdu) == 5 else -1] + answer[1:] if len(apdu) > 4 else apdu + answer[1:]
                continue
            whole += answer[:-2]
            if answer[-2] != 0x61:
                return whole + answer[-2:]
            command = bytes((apdu[0], GET_RESPONSE, 0, 0, answer[-1]))
        raise ForeignError("could not obtain response")

    return through


def apdu4j(transmit: Transmit) -> Transmit:
    """martinpaljak/apdu4j `core/.../T0Stripper.java` below `GetResponseWrapper.java`, over a reader that does nothing.

    Le behind data goes away, and 61xx is followed with the class of the command, 32 times at most.
    """

    def through(apdu: bytes) -> bytes:
        whole, command = b"", apdu[:-1] if is_case_4(apdu) else apdu
        for _ in range(32):
            answer = transmit(command)
            whole += answer[:-2]
            if answer[-2] != 0x61:
                return whole + answer[-2:]
            command = bytes((apdu[0], GET_RESPONSE, 0, 0, answer[-1]))
        return whole

    return through


def gppcsc(transmit: Transmit, *, t0: bool = False) -> Transmit:
    """kaoh/globalplatform `gppcscconnectionplugin/src/gppcscconnectionplugin.c`: GET RESPONSE with class 00.

    On T=0 a command with data and Le goes without Le, and GET RESPONSE follows after 61xx **and after 9000**, with the
    Le of the command; 6D00 or 6E00 to that brings the first answer back, anything else counts.
    """

    def through(apdu: bytes) -> bytes:
        if not t0:
            return _drained(transmit, transmit(apdu))
        if is_case_4(apdu):
            first = transmit(apdu[:-1])
            if first[-2] not in (0x61, 0x90):
                return first
            le = min(apdu[-1] or 256, (first[-1] or 256) if first[-2] == 0x61 else 256)
            second = transmit(bytes((0, GET_RESPONSE, 0, 0, le & 0xFF)))
            if second[-2:] in (b"\x6d\0", b"\x6e\0"):
                return first
            if second[-2] == 0x6C:
                second = transmit(bytes((0, GET_RESPONSE, 0, 0, second[-1])))
            return _drained(transmit, second)
        answer = transmit(apdu)
        while answer[-2] == 0x6C:
            answer = transmit(apdu[:4] + answer[-1:])
        return _drained(transmit, answer)

    return through


def pysim(transmit: Transmit) -> Transmit:
    """osmocom/pysim `pySim/transport/__init__.py` in TPDU mode, which asks pcscd for T=0.

    Le behind data is stripped; 61xx and 9Fxx are followed with the class of the command, secure messaging bits and all;
    6Cxx repeats the header with that Le.
    """

    def through(apdu: bytes) -> bytes:
        command = apdu[:-1] if is_case_4(apdu) else apdu
        answer = transmit(command)
        whole = answer[:-2]
        while answer[-2] in (0x61, 0x9F, 0x6C):
            if answer[-2] == 0x6C:
                answer = transmit(command[:4] + answer[-1:])
                whole = answer[:-2]
            else:
                answer = transmit(command[:1] + bytes((GET_RESPONSE, 0, 0)) + answer[-1:])
                whole += answer[:-2]
        return whole + answer[-2:]

    return through


def _drained(transmit: Transmit, answer: bytes) -> bytes:
    whole = answer[:-2]
    while answer[-2] == 0x61:
        answer = transmit(bytes((0, GET_RESPONSE, 0, 0, answer[-1])))
        whole += answer[:-2]
    return whole + answer[-2:]
