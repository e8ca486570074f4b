"""A virtual element under test, and a terminal that speaks plainly or through a secure channel to it.

terminal = Terminal(element())
session = terminal.authenticate()
assert session(0x80, 0xF2, 0x80, 0x02, b"\\x4F\\x00").sw == 0x9000
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keywright.crypto.aes import AesKey
from keywright.element import Context, SecureElement
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import with_channel
from keywright.iso7816.layers import complete
from keywright.iso7816.refusal import Refusal
from keywright.sansio.dialogue import drive
from keywright.scp.scp03 import HostChannel, KeySet, open_channel
from keywright.store import Memory

ISD = bytes.fromhex("A000000151000000")
ECHO_AID = bytes.fromhex("F06B77000001")
OTHER_AID = bytes.fromhex("F06B77000002")
HOST_CHALLENGE = bytes.fromhex("0102030405060708")
OWN = KeySet.of(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
OTHER = KeySet.of(b"\x11" * 16, b"\x22" * 16, b"\x33" * 16)


def fail(error: Exception) -> None:
    """What an element under test does with a fault: show it."""
    raise error


def element(**parameters: Any) -> SecureElement:
    """A `SecureElement` that raises what would become 6F00."""
    merged: dict[str, Any] = {"on_fault": fail} | parameters
    return SecureElement(**merged)


def contents(memory: Memory, *, counters: bool = True) -> dict[str, bytes]:
    """All that a memory holds; without `counters`, all that commands change on purpose."""
    names = [name for name in memory.names() if counters or not name.startswith(("counter/", "attempts"))]
    return {name: memory.load(name) or b"" for name in names}


class Terminal:
    """Sends commands to an element on one logical channel."""

    def __init__(self, card: SecureElement, channel: int = 0) -> None:
        self.card = card
        self.channel = channel

    def raw(self, command: bytes | str) -> bytes:
        """One command as bytes or hex, its answer as bytes."""
        return self.card.handle(bytes.fromhex(command) if isinstance(command, str) else command)

    def sw(self, command: bytes | str) -> int:
        """Status word of the answer to one command."""
        return int.from_bytes(self.raw(command)[-2:])

    def exchange(self, command: Command) -> Response:
        """One command as it is."""
        return Response.parse(self.card.handle(command.encode()))

    def __call__(
        self, cla: int, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", le: int | None = None
    ) -> Response:
        """One unsecured command on this terminal's channel."""
        return self.exchange(Command(with_channel(cla, self.channel), ins, p1, p2, data, le))

    def select(self, aid: bytes = b"") -> Response:
        """SELECT by AID."""
        return self(0x00, 0xA4, 0x04, 0x00, aid, 0)

    def initialize_update(self, kvn: int = 0, challenge: bytes = HOST_CHALLENGE) -> Response:
        """INITIALIZE UPDATE alone."""
        return self(0x80, 0x50, kvn, 0x00, challenge, 0)

    def authenticate(self, level: int = 0x33, *, kvn: int = 0, keys: KeySet | None = None) -> Session:
        """A secure session; raises what the host end raises."""
        keys = keys or KeySet.gp_test()
        dialogue = open_channel(keys, HOST_CHALLENGE, kvn=kvn, level=level, channel=self.channel)
        return Session(self, drive(dialogue, self.exchange), keys)


class Session:
    """Sends commands through a secure channel."""

    def __init__(self, terminal: Terminal, host: HostChannel, keys: KeySet) -> None:
        self.terminal = terminal
        self.host = host
        self.keys = keys

    def wrap(self, cla: int, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", le: int | None = None) -> Command:
        """The protected command, not yet sent."""
        return self.host.wrap(Command(with_channel(cla, self.terminal.channel), ins, p1, p2, data, le))

    def __call__(
        self, cla: int, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"", le: int | None = None
    ) -> Response:
        """One command and its answer, both protected."""
        return self.send(Command(with_channel(cla, self.terminal.channel), ins, p1, p2, data, le))

    def send(self, command: Command) -> Response:
        """One command and its answer, both protected; GET RESPONSE where the answer is long."""
        return self.host.unwrap(drive(complete(self.host.wrap(command)), self.terminal.exchange))

    def put_keys(
        self, kvn: int, keys: KeySet, *, old: int = 0, dek: AesKey | None = None, inner_length: bool = True
    ) -> Response:
        """PUT KEY of three keys."""
        dek = dek or self.keys.dek
        body = bytes((kvn,)) + b"".join(
            [key_field(key, dek, inner_length=inner_length) for key in (keys.enc, keys.mac, keys.dek)]
        )
        return self(0x80, 0xD8, old, 0x81, body, 0)


def key_field(key: AesKey, dek: AesKey, *, inner_length: bool = True, kcv: bytes | None = None) -> bytes:
    """One key as PUT KEY carries it, with or without the key length inside the block."""
    raw = key.reveal()
    block = dek.encrypt_cbc(bytes(16), raw + bytes(-len(raw) % 16))
    if inner_length:
        block = bytes((len(raw),)) + block
    check = key.kcv() if kcv is None else kcv
    return b"\x88" + bytes((len(block),)) + block + bytes((len(check),)) + check


class EchoApplet:
    """Answers what it was sent; some instructions do what the tests of the applet protocol need."""

    def __init__(self, aid: bytes = ECHO_AID) -> None:
        self.aid = aid

    def select(self, context: Context) -> bytes:
        """Refuse if the record `unwilling` exists; else an FCI, and remember the selection."""
        if context.read("unwilling") is not None:
            raise Refusal(0x6A82)
        context.write("selected", bytes((context.channel_number,)))
        return b"\x6f" + bytes((len(self.aid) + 2, 0x84, len(self.aid))) + self.aid

    def process(self, command: Command, context: Context) -> Response:
        """What `INSTRUCTIONS` says; 6D00 for everything else."""
        known = INSTRUCTIONS.get(command.ins)
        if known is None:
            raise Refusal(0x6D00)
        return Response(*known(command, context))


def _write(command: Command, context: Context) -> tuple[bytes, int]:
    context.write("value", command.data or None)
    return b"", 0x9000


def _write_then_refuse(command: Command, context: Context) -> tuple[bytes, int]:
    _write(command, context)
    raise Refusal(0x6985)


def _count_then_refuse(command: Command, context: Context) -> tuple[bytes, int]:
    context.write_first("count", bytes((command.p1,)))
    raise Refusal(0x63C2)


def _ram(command: Command, context: Context) -> tuple[bytes, int]:
    before = context.volatile.get("seen", b"")
    assert isinstance(before, bytes)
    context.volatile["seen"] = before + b"."
    return bytes((len(before) + 1,)), 0x9000


def _fault(command: Command, context: Context) -> tuple[bytes, int]:
    raise RuntimeError("an applet with a fault")


def _need_c_mac(command: Command, context: Context) -> tuple[bytes, int]:
    context.require(0x01)
    return b"", 0x9000


INSTRUCTIONS: dict[int, Callable[[Command, Context], tuple[bytes, int]]] = {
    0x10: lambda command, _: (bytes((command.cla,)) + command.data, 0x9000),
    0x11: _write,
    0x12: _write_then_refuse,
    0x13: _count_then_refuse,
    0x14: lambda command, context: (_write(command, context)[0], 0x6A80),
    0x15: lambda _, context: ((context.read("value") or b"") + (context.read("count") or b""), 0x9000),
    0x16: lambda _, context: (bytes((context.is_authenticated, context.level, context.card_state)), 0x9000),
    0x17: _ram,
    0x18: lambda command, _: (bytes(command.p1 << 8 | command.p2), 0x9000),
    0x19: lambda command, context: (context.decrypt(command.data), 0x9000),
    0x1A: _fault,
    0x1B: _need_c_mac,
}
"""10 class and data, 11 write, 12 write and refuse, 13 count first and refuse, 14 write and fail, 15 read, 16 what it
knows of the session, 17 RAM, 18 P1P2 zeros, 19 decrypt, 1A a fault, 1B needs a C-MAC."""
