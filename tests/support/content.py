"""Card content for tests: small load files, and a host that runs its dialogues in a session.

host = ContentHost(Terminal(element()).authenticate())
host.load(package(FILE, [MODULE]))
host.install(FILE, MODULE, INSTANCE)
"""

from __future__ import annotations

from typing import Any

from keywright.crypto.aes import AesKey
from keywright.element.state import KeyRecord, KeySetRecord
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import InstallForLoad
from keywright.globalplatform.load_file import DapBlock, LoadFile
from keywright.globalplatform.privileges import Privilege
from keywright.sansio.dialogue import drive, through
from keywright.scp.scp03 import KeySet
from keywright.store import RamMemory
from support.cards import Session, Terminal

FILE = bytes.fromhex("F06B770001")
MODULE = bytes.fromhex("F06B77000101")
INSTANCE = bytes.fromhex("F06B7700010101")
SECOND = bytes.fromhex("F06B7700010102")
DOMAIN = bytes.fromhex("F06B77000D01")
INNER = bytes.fromhex("F06B77000D02")
NOTHING = Privilege(0)
DOMAIN_FILE = bytes.fromhex("A0000001515350")
DOMAIN_MODULE = bytes.fromhex("A000000151535041")


def package(aid: bytes, modules: list[bytes], *, version: tuple[int, int] = (1, 2), size: int = 0) -> bytes:
    """A load file data block: header, applets, and `size` bytes of a method component."""
    header = bytes.fromhex("DECAFFED0201") + bytes((0x04, version[1], version[0], len(aid))) + aid
    applets = bytes((len(modules),)) + b"".join(bytes((len(one),)) + one + b"\0\x08" for one in modules)
    return component(1, header) + component(3, applets) + (component(7, bytes(size)) if size else b"")


def component(tag: int, info: bytes) -> bytes:
    """One component of a CAP file."""
    return bytes((tag,)) + len(info).to_bytes(2) + info


class ContentHost:
    """Runs dialogues of content management in a session; raises what they raise."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, dialogue: Dialogue[Any]) -> Any:
        """One dialogue, to its result."""
        return drive(through(dialogue, self.session.host.secure), self.session.terminal.exchange)

    @property
    def size(self) -> int:
        """Plain bytes of one command."""
        return self.session.host.max_data

    def load(
        self,
        block: bytes,
        aid: bytes = FILE,
        *,
        domain: bytes = b"",
        digest: bytes = b"",
        parameters: bytes = b"",
        daps: tuple[DapBlock, ...] = (),
        token: content.Token = b"",
        file: LoadFile | None = None,
        size: int = 0,
    ) -> Confirmation:
        """INSTALL [for load] and LOAD."""
        self.run(content.install_for_load(InstallForLoad(aid, domain, digest, parameters), token=token, size=self.size))
        found = self.run(content.load(file or LoadFile(block, daps), size=size or self.size))
        assert isinstance(found, Confirmation)
        return found

    def install(
        self,
        load_file: bytes = FILE,
        module: bytes = MODULE,
        instance: bytes = INSTANCE,
        privileges: Privilege = NOTHING,
        parameters: bytes = b"\xc9\x00",
        *,
        selectable: bool = True,
        token: content.Token = b"",
    ) -> Confirmation:
        """INSTALL [for install]."""
        what = content.Installation(load_file, module, instance, privileges, parameters)
        dialogue = content.install_for_install(what, make_selectable=selectable, token=token, size=self.size)
        found = self.run(dialogue)
        assert isinstance(found, Confirmation)
        return found

    def make_domain(
        self, aid: bytes = DOMAIN, privileges: Privilege = Privilege.SECURITY_DOMAIN, parameters: bytes = b"\xc9\x00"
    ) -> None:
        """A supplementary security domain."""
        self.install(DOMAIN_FILE, DOMAIN_MODULE, aid, privileges, parameters)


def give_keys(memory: RamMemory, prefix: str, kvn: int, *keys: KeyRecord) -> None:
    """Put keys into a domain's memory, as a card maker does; `prefix` is empty for the issuer's."""
    kvns = memory.load(f"{prefix}keys") or b""
    record = KeySetRecord(keys).build()
    memory.commit({f"{prefix}keys": kvns + bytes((kvn,)), f"{prefix}keys/{kvn:02X}": record})


def give_channel_keys(memory: RamMemory, prefix: str, kvn: int, keys: KeySet) -> None:
    """Give a domain AES keys for SCP03."""
    values: tuple[AesKey, ...] = (keys.enc, keys.mac, keys.dek)
    give_keys(memory, prefix, kvn, *(KeyRecord(kid, 0x88, key.reveal()) for kid, key in enumerate(values, 1)))


def prefix_of(aid: bytes) -> str:
    """What the names of a domain's records begin with."""
    return f"sd/{aid.hex().upper()}/"


def opened(terminal: Terminal, aid: bytes, keys: KeySet | None = None, level: int = 0x33) -> ContentHost:
    """A manager in a session of the security domain `aid`."""
    assert terminal.select(aid).sw == 0x9000
    return ContentHost(terminal.authenticate(level, keys=keys))
