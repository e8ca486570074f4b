"""The issuer security domain managed by packets and by HTTP scripts, as a server does it."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from keywright.crypto.aes import AesKey
from keywright.element.open import SecureElement
from keywright.globalplatform.dialogues import content
from keywright.globalplatform.host import put_key_command
from keywright.globalplatform.install import InstallForLoad
from keywright.globalplatform.load_file import LoadFile
from keywright.globalplatform.messages import DEFAULT_ISD
from keywright.iso7816.apdu import Command, Response
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.host import open_channel
from keywright.scp.scp03.keys import KeySet as Scp03Keys
from keywright.scp.scp80 import sms
from keywright.scp.scp80.card import ReceivingEntity
from keywright.scp.scp80.host import Request, SendingEntity, Transmit
from keywright.scp.scp80.keys import KeySet, PacketDek
from keywright.scp.scp80.messages import Check, CounterMode, Spi
from keywright.scp.scp80.remote_management import RemoteManagement
from keywright.scp.scp80.scripts import ScriptReport, send_script
from keywright.scp.scp81.administration import Script, ScriptStatus
from keywright.scp.scp81.domains import ScriptDomains
from keywright.scp.scp81.server import commands
from keywright.scp.transport import TransportSession
from support.cards import Terminal
from support.content import DOMAIN, FILE, INSTANCE, MODULE, NOTHING, ContentHost, package
from support.over_the_air import Rooms

KEYS = KeySet.aes(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
EXPANDED, COMPACT = bytes.fromhex("B20100"), bytes(3)
STATUS = Command(0x80, 0xF2, 0x80, 0x02, b"\x4f\x00", 0)
STORE = Command(0x80, 0xE2, 0x80, 0, bytes.fromhex("DF20023132"))
READ = Command(0x80, 0xCA, 0x00, 0x66, b"", 0)
INITIALIZE_UPDATE = Command(0x80, 0x50, 0, 0, bytes(8), 0)


class Air:
    def __init__(self, element: SecureElement, msl: int = 0x16) -> None:
        self.executor = element.air.executor()
        applications = {
            EXPANDED: RemoteManagement(self.executor, compact=False, msl=msl),
            COMPACT: RemoteManagement(self.executor, compact=True, msl=msl),
        }
        rooms = Rooms({1: KEYS})
        self.card = ReceivingEntity(applications, rooms, rooms)
        self.counter = 0

    def __call__(self, request: Request) -> bytes | None:
        return self.card.handle(request.packet).packet if isinstance(request, Transmit) else None

    def send(self, script: Sequence[Command], tar: bytes = EXPANDED, spi: Spi | None = None) -> ScriptReport:
        report = drive(send_script(SendingEntity(KEYS, tar, spi=spi), script, self.counter), self)
        self.counter = report.counter
        return report


@pytest.fixture
def element() -> Generator[SecureElement, None, None]:
    with SecureElement(protocols=()) as one:
        yield one


def direct(element: SecureElement, command: Command) -> Response:
    return Response.parse(element.handle(command.encode()))


def test_a_script_is_served_by_the_domain_without_a_channel_inside(element: SecureElement) -> None:
    assert direct(element, STATUS).sw == 0x6982
    report = Air(element).send([STATUS, READ])
    assert [answer.sw for answer in report.responses] == [0x9000, 0x9000]
    assert DEFAULT_ISD in report.responses[0].data
    assert report.responses[1].data == direct(element, READ).data
    assert direct(element, STATUS).sw == 0x6982


def test_the_compact_format_brings_data_by_get_response(element: SecureElement) -> None:
    report = Air(element).send([STATUS, Command(0x80, 0xC0, 0, 0, b"", 0)], COMPACT)
    (answer,) = report.responses
    assert answer.sw == 0x9000
    assert DEFAULT_ISD in answer.data


@pytest.mark.parametrize(
    ("spi", "sw"),
    [
        (Spi.of(), 0x9000),
        (Spi.of(ciphered=False, por_ciphered=False), 0x9000),
        (Spi.of(Check.RC, por_check=Check.NONE), 0x6982),
        (Spi.of(Check.NONE, por_check=Check.NONE), 0x6982),
        (
            Spi.of(Check.NONE, ciphered=False, counter=CounterMode.NONE, por_check=Check.NONE, por_ciphered=False),
            0x6982,
        ),
    ],
)
def test_only_a_packet_that_authenticates_may_manage(element: SecureElement, spi: Spi, sw: int) -> None:
    air = Air(element, msl=0)
    kid = 0x11 if spi.check == Check.RC else 0x12
    sender = SendingEntity(KEYS, EXPANDED, spi=spi, kid=kid)
    report = drive(send_script(sender, [STATUS], 0), air)
    assert report.responses[-1].sw == sw


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        (INITIALIZE_UPDATE, 0x6985),
        (Command(0x80, 0x82, 0x33, 0, bytes(8)), 0x6985),
        (Command(0x84, 0xF2, 0x80, 0x02, bytes(16), 0), 0x6982),
        (Command(0x00, 0x70, 0, 0, b"", 1), 0x6881),
        (Command(0x81, 0xF2, 0x80, 0x02, b"\x4f\0", 0), 0x6881),
    ],
)
def test_nothing_inside_opens_a_channel_to_the_domain_itself(element: SecureElement, command: Command, sw: int) -> None:
    report = Air(element).send([command])
    assert report.responses[-1].sw == sw


def test_a_reader_and_the_air_do_not_see_each_other(element: SecureElement) -> None:
    select = Command(0x00, 0xA4, 4, 0, DEFAULT_ISD, 0)
    assert direct(element, select).sw == 0x9000
    challenge = direct(element, INITIALIZE_UPDATE)
    assert challenge.sw == 0x9000
    air = Air(element)
    assert [answer.sw for answer in air.send([select, STATUS]).responses] == [0x9000, 0x9000]
    # The challenge that the reader was given still stands: a wrong cryptogram is judged, not refused for its order.
    assert direct(element, Command(0x84, 0x82, 0x33, 0, bytes(16))).sw in (0x6982, 0x6300)


def test_what_the_air_changed_stays(element: SecureElement) -> None:
    lock = Command(0x80, 0xF0, 0x80, 0x07, DEFAULT_ISD)
    report = Air(element).send([lock])
    assert report.responses[-1].sw == 0x9000
    assert element.life_cycle == 0x07


def test_an_application_that_a_script_selects_gets_nothing_from_the_transport(element: SecureElement) -> None:
    session = TransportSession(0x80, 0x83, 1)
    executor = element.air.executor()
    assert executor.execute(STATUS, session).sw == 0x9000
    assert executor.execute(STATUS, TransportSession(0x80)).sw == 0x6982
    executor.start()
    assert executor.execute(STATUS, session).sw == 0x9000


def test_there_must_be_such_a_domain(element: SecureElement) -> None:
    with pytest.raises(ValueError, match="no security domain"):
        element.air.executor(bytes(5))


def test_an_http_script_is_served_too(element: SecureElement) -> None:
    from keywright.scp.scp80.expanded import Script as Commands
    from keywright.scp.scp80.expanded import ScriptResponse

    domains = ScriptDomains(element.air.executor(), TransportSession(0x81, 0xB3, 0x40))
    result = domains.run(Script(Commands.of([STATUS, INITIALIZE_UPDATE], indefinite=True).build()), new_session=True)
    assert result.status is ScriptStatus.OK
    assert [answer.sw for answer in ScriptResponse.parse(result.body).responses] == [0x9000, 0x6985]


def test_keys_put_over_the_air_open_a_channel_at_the_reader(element: SecureElement) -> None:
    new = Scp03Keys.of(*(bytes([number]) * 16 for number in (1, 2, 3)))
    assert KEYS.kik is not None
    command = put_key_command(new, PacketDek(KEYS.kik), kvn=0x30)
    (answer,) = Air(element).send([command]).responses
    assert answer.sw == 0x9000
    channel = drive(open_channel(new, bytes(8), kvn=0x30), lambda one: direct(element, one))
    assert channel.is_open
    wrong = put_key_command(new, PacketDek(AesKey(bytes(16))), kvn=0x31)
    assert Air(element).send([wrong]).responses[0].sw in (0x6982, 0x9485)


def loading() -> Generator[Command, Response, None]:
    yield from content.install_for_load(InstallForLoad(FILE, b"", b"", b""))
    yield from content.load(LoadFile(package(FILE, [MODULE], size=300)), size=100)
    yield from content.install_for_install(content.Installation(FILE, MODULE, INSTANCE, NOTHING, b"\xc9\x00"))


def test_an_application_is_loaded_packet_by_packet_and_selected_at_the_reader(element: SecureElement) -> None:
    air = Air(element)
    sent = []

    def packet(command: Command) -> Response:
        sent.append(command)
        return air.send([command]).responses[0]

    drive(loading(), packet)
    assert air.counter == len(sent) > 5
    assert direct(element, Command(0x00, 0xA4, 4, 0, INSTANCE, 0)).sw == 0x9000


def test_an_application_is_loaded_in_one_script_of_many_packets(element: SecureElement) -> None:
    script: list[Command] = []

    def keep(command: Command) -> Response:
        script.append(command)
        return Response(b"")

    drive(loading(), keep)
    air = Air(element)
    report = drive(send_script(SendingEntity(KEYS, EXPANDED), script, 0, limit=sms.most_in(2)), air)
    assert {answer.sw for answer in report.responses} == {0x9000}
    assert (report.executed, report.counter) == (len(script), 2)
    assert direct(element, Command(0x00, 0xA4, 4, 0, INSTANCE, 0)).sw == 0x9000


def test_an_application_is_loaded_over_http(element: SecureElement) -> None:
    domains = ScriptDomains(element.air.executor(), TransportSession(0x81, 0xB3, 0x40))
    drive(commands(loading()), lambda script: domains.run(script, new_session=False))
    assert direct(element, Command(0x00, 0xA4, 4, 0, INSTANCE, 0)).sw == 0x9000


def test_a_load_of_one_sender_is_not_gone_on_with_by_another(element: SecureElement) -> None:
    executor = element.air.executor()
    one, other = TransportSession(0x80, 0x83, 1), TransportSession(0x80, 0x83, 2)
    dialogue = loading()
    announced = next(dialogue)
    block = dialogue.send(executor.execute(announced, one))
    executor.start()
    assert executor.execute(block, other).sw == 0x6985
    dialogue.close()


def test_what_a_script_selects_has_no_session_of_the_transport(element: SecureElement) -> None:
    executor, session = element.air.executor(), TransportSession(0x80, 0x83, 1)
    drive(loading(), lambda command: executor.execute(command, session))
    assert executor._channel.session == session
    assert executor.execute(Command(0x00, 0xA4, 4, 0, INSTANCE, 0), session).sw == 0x9000
    assert executor._channel.session is None
    executor.execute(STATUS, session)
    assert executor._channel.session is None
    assert executor.execute(Command(0x80, 0x50, 0, 0, bytes(8), 0), session).sw == 0x9000
    executor.start()
    assert executor._channel.session is None
    assert executor.execute(STATUS, session).sw == 0x9000


def test_a_command_that_cannot_be_sent_is_refused(element: SecureElement) -> None:
    executor = element.air.executor()
    assert executor.execute(Command(0x80, 0xE2, 0, 0, bytes(300)), TransportSession(0x80, 0x83, 1)).sw == 0x6700


def test_what_a_reader_has_selected_is_not_deleted_from_the_air(element: SecureElement) -> None:
    executor, session = element.air.executor(), TransportSession(0x80, 0x83, 1)
    drive(loading(), lambda command: executor.execute(command, session))
    delete = Command(0x80, 0xE4, 0, 0, b"\x4f" + bytes((len(INSTANCE),)) + INSTANCE)
    assert direct(element, Command(0x00, 0xA4, 4, 0, INSTANCE, 0)).sw == 0x9000
    assert executor.execute(delete, session).sw == 0x6985
    assert direct(element, Command(0x00, 0xA4, 4, 0, DEFAULT_ISD, 0)).sw == 0x9000
    assert executor.execute(delete, session).sw == 0x9000


def test_a_locked_domain_takes_nothing_from_the_air(element: SecureElement) -> None:
    terminal = Terminal(element)
    ContentHost(terminal.authenticate()).make_domain(DOMAIN)
    executor, session = element.air.executor(DOMAIN), TransportSession(0x80, 0x83, 1)
    executor.start()
    assert executor.execute(STORE, session).sw == 0x9000
    assert terminal.authenticate()(0x80, 0xF0, 0x40, 0x80, DOMAIN).sw == 0x9000
    assert executor.execute(STORE, session).sw == 0x6985
