"""Whatever a host does to the content of a card, the registry stays one that can be: checked after every command."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keywright.codec.tlv import item
from keywright.element.registry import Registry, is_domain
from keywright.element.state import Kind
from keywright.globalplatform.install import (
    InstallForExtradition,
    InstallForInstall,
    InstallForLoad,
    InstallForMakeSelectable,
    InstallForRegistryUpdate,
)
from keywright.globalplatform.load_file import LoadFile
from keywright.globalplatform.privileges import SINGLE, Privilege, conflicts
from keywright.store import RamMemory
from support.cards import ISD, Session, Terminal, contents, element
from support.content import DOMAIN, DOMAIN_FILE, DOMAIN_MODULE, FILE, INNER, INSTANCE, MODULE, SECOND, package

AIDS = (INSTANCE, SECOND, DOMAIN, INNER)
aids = st.sampled_from((*AIDS, FILE, ISD))
domains = st.sampled_from((DOMAIN, INNER, ISD))
privileges = st.sampled_from(("00", "04", "80", "A0", "804000", "806000", "000200", "000100", "C1", "849002")).map(
    bytes.fromhex
)
parameters = st.sampled_from(
    (b"", b"\xc9\x00", b"\xc9\x00" + item(0xEF, item(0xCF, b"\x41")), b"\xc9\x00" + item(0xEF, item(0xD8, b"\x40\x00")))
)


class Content(RuleBasedStateMachine):
    """A card with little memory, a host that may do anything in the session of any domain that it can open."""

    @initialize()
    def meet(self) -> None:
        self.memory = RamMemory()
        self.card = element(memory=self.memory, persistent=0xA000)
        self.terminal = Terminal(self.card)
        self.session: Session = self.terminal.authenticate()

    def send(self, ins: int, p1: int, p2: int, data: bytes) -> None:
        before = contents(self.memory, counters=False)
        answer = self.session(0x80, ins, p1, p2, data)
        if answer.sw != 0x9000:
            assert contents(self.memory, counters=False) == before, f"{answer.sw:04X}"

    @rule(aid=st.sampled_from((DOMAIN, INNER, b"")))
    def go_to(self, aid: bytes) -> None:
        if self.terminal.select(aid).sw != 0x9000:
            self.terminal.select()
        self.session = self.terminal.authenticate()

    @rule(domain=st.just(b"") | domains, size=st.integers(0, 3000))
    def load(self, domain: bytes, size: int) -> None:
        self.send(0xE6, 0x02, 0x00, InstallForLoad(FILE, domain).build())
        raw = LoadFile(package(FILE, [MODULE], size=size)).build()
        parts = [raw[at : at + 200] for at in range(0, len(raw), 200)]
        for number, part in enumerate(parts):
            self.send(0xE8, 0x80 if number == len(parts) - 1 else 0x00, number, part)

    @rule(aid=st.sampled_from(AIDS), held=privileges, told=parameters, p1=st.sampled_from((0x04, 0x0C)))
    def install(self, aid: bytes, held: bytes, told: bytes, p1: int) -> None:
        file, module = (DOMAIN_FILE, DOMAIN_MODULE) if held[0] & 0x80 else (FILE, MODULE)
        self.send(0xE6, p1, 0x00, InstallForInstall(file, module, aid, held, told).build())

    @rule(aid=aids, held=privileges)
    def make_selectable(self, aid: bytes, held: bytes) -> None:
        self.send(0xE6, 0x08, 0x00, InstallForMakeSelectable(b"", b"", aid, held).build())

    @rule(aid=aids, domain=domains)
    def extradite(self, aid: bytes, domain: bytes) -> None:
        self.send(0xE6, 0x10, 0x00, InstallForExtradition(domain, b"", aid).build())

    @rule(aid=aids | st.just(b""), domain=domains | st.just(b""), held=privileges)
    def update(self, aid: bytes, domain: bytes, held: bytes) -> None:
        self.send(0xE6, 0x40, 0x00, InstallForRegistryUpdate(domain, b"", aid, held).build())

    @rule(aid=aids, p2=st.sampled_from((0x00, 0x80)))
    def delete(self, aid: bytes, p2: int) -> None:
        self.send(0xE4, 0x00, p2, item(0x4F, aid))

    @rule(aid=aids, p1=st.sampled_from((0x40, 0x60)), p2=st.sampled_from((0x00, 0x07, 0x0F, 0x80)))
    def set_status(self, aid: bytes, p1: int, p2: int) -> None:
        self.send(0xF0, p1, p2, aid)

    @rule()
    def power(self) -> None:
        self.card = element(memory=self.memory)
        self.terminal = Terminal(self.card)
        self.terminal.select()
        self.session = self.terminal.authenticate()

    @invariant()
    def every_entry_has_its_place(self) -> None:
        registry = Registry.parse(self.memory.load("registry") or b"")
        names = {(entry.kind == Kind.LOAD_FILE, entry.aid) for entry in registry}
        assert len(names) == len(registry.entries)
        assert [entry.aid for entry in registry if entry.kind == Kind.ISSUER_DOMAIN] == [ISD]
        for entry in registry.entries[1:]:
            assert registry.domain(entry.domain) is not None
            assert registry.under(entry.domain, ISD), "no association leads in a circle"
            if entry.load_file and entry.load_file != DOMAIN_FILE:
                assert registry.module(entry.load_file, entry.module)

    @invariant()
    def privileges_are_held_as_the_rules_have_it(self) -> None:
        registry = Registry.parse(self.memory.load("registry") or b"")
        for entry in registry.entries[1:]:
            held = Privilege(int.from_bytes(entry.privileges))
            assert conflicts(held) == ()
            assert (Privilege.SECURITY_DOMAIN in held) is is_domain(entry)
        for single in (Privilege.CARD_RESET, Privilege.FINAL_APPLICATION):
            assert single in SINGLE
            assert sum(bool(int.from_bytes(entry.privileges) & single) for entry in registry) == 1

    @invariant()
    def nothing_is_kept_of_what_is_gone(self) -> None:
        registry = Registry.parse(self.memory.load("registry") or b"")
        for name in self.memory.names():
            kind, _, rest = name.partition("/")
            owner = bytes.fromhex(rest.split("/")[0]) if kind in ("sd", "applet", "load") else b""
            assert kind != "sd" or registry.domain(owner) is not None
            assert kind != "applet" or registry.application(owner) is not None
            assert kind != "load" or registry.load_file(owner) is not None


TestContent = Content.TestCase
TestContent.settings = settings(max_examples=25, stateful_step_count=40)
