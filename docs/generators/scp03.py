"""States of the security domain: read from the element's table, and tried out on an element to see what follows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from generators.drawing import Drawing
from generators.markdown import table
from keywright.element import SecureElement
from keywright.element.table import RULES, TABLE, State, refusal, state_of
from keywright.errors import StatusError
from keywright.globalplatform.cap.build import make_cap
from keywright.globalplatform.dialogues.content import install_for_load, load
from keywright.globalplatform.host import (
    delete_keys,
    get_data,
    get_status,
    put_keys,
    secured,
    select,
    set_card_state,
    store_data,
)
from keywright.globalplatform.install import InstallForLoad
from keywright.globalplatform.life_cycle import CardState
from keywright.globalplatform.messages import Ins, StatusScope, Tag
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.status import check
from keywright.sansio.dialogue import drive
from keywright.scp.scp03.host import HostChannel, external_authenticate, initialize_update
from keywright.scp.scp03.keys import KeySet
from keywright.scp.scp03.messages import EXTERNAL_AUTHENTICATE

NAMES = {
    State.IDLE: "no session",
    State.CHALLENGED: "challenged",
    State.AUTHENTICATED: "authenticated",
    State.LOCKED: "locked, no session",
    State.LOCKED_CHALLENGED: "locked, challenged",
    State.LOCKED_AUTHENTICATED: "locked, authenticated",
    State.TERMINATED: "terminated",
}
LISTED = [ins for ins, rule in RULES.items() if not rule.optional]
"""What an element with SCP03 alone knows."""
_WAITING = (State.CHALLENGED, State.LOCKED_CHALLENGED)
INSTRUCTIONS = {value: name.replace("_", " ") for name, value in vars(Ins).items() if isinstance(value, int)}

_CHALLENGE = bytes(range(1, 9))
_KEYS = KeySet.gp_test()
_CAP = make_cap(bytes.fromhex("F06B77000010"), [bytes.fromhex("F06B7700001001")])
_LIVES = {
    State.AUTHENTICATED: {"lock": CardState.CARD_LOCKED, "terminate": CardState.TERMINATED},
    State.LOCKED_AUTHENTICATED: {"unlock": CardState.SECURED, "terminate": CardState.TERMINATED},
}


class Trial:
    """An element brought into a state, of which one can see in what state one command leaves it."""

    def __init__(self, state: State, level: int = 0x33) -> None:
        locked = state in (State.LOCKED, State.LOCKED_CHALLENGED, State.LOCKED_AUTHENTICATED)
        life = CardState.CARD_LOCKED if locked else CardState.SECURED
        life = CardState.TERMINATED if state is State.TERMINATED else life
        self.element = SecureElement(life_cycle=life, initial_keys_stay=True)
        self.channel: HostChannel | None = None
        if state in (State.CHALLENGED, State.LOCKED_CHALLENGED):
            self.opening = self.run(initialize_update(KeySet.gp_test(), _CHALLENGE))
        if state in (State.AUTHENTICATED, State.LOCKED_AUTHENTICATED):
            opening = self.run(initialize_update(KeySet.gp_test(), _CHALLENGE))
            self.channel = self.run(external_authenticate(opening, level))

    @property
    def state(self) -> State:
        """The state of the basic channel now."""
        card = self.element._card  # noqa: SLF001 - no command tells the phase of a session
        return State(state_of(card.life(), card.channels[0].phase))

    def exchange(self, command: Command) -> Response:
        """One command as it is."""
        return Response.parse(self.element.handle(command.encode()))

    def run(self, dialogue: Generator[Command, Response, Any]) -> Any:
        """A dialogue, under the session where there is one."""
        return drive(secured(self.channel, dialogue) if self.channel else dialogue, self.exchange)


def listed(state: State, ins: int) -> bool:
    """Whether the state takes the instruction; the second step of a handshake only after the first one."""
    return (state, ins) in TABLE and (ins != Ins.EXTERNAL_AUTHENTICATE or state in _WAITING)


def after(state: State, ins: int) -> dict[str, State]:
    """What an instruction that is listed in `state` leads to: how it went -> the state after it."""
    if ins == Ins.EXTERNAL_AUTHENTICATE:
        good, bad = Trial(state), Trial(state)
        good.run(external_authenticate(good.opening))
        bad.exchange(Command(0x84, EXTERNAL_AUTHENTICATE, 0x33, 0x00, bytes(16)))
        return {"accepted": good.state, "refused": bad.state}
    if ins == Ins.SET_STATUS:
        return {word: _after_status(state, life) for word, life in _LIVES[state].items()}
    trial = Trial(state, 0x03 if ins == Ins.BEGIN_R_MAC_SESSION else 0x33)
    if RULES[ins].bare:
        trial.channel = None
    how = ""
    try:
        trial.run(_example(ins))
    except StatusError as error:  # listed for what it does otherwise, such as closing a channel on a locked card
        how = f"opening refused, `{error.sw:04X}`"
    return {how: trial.state}


def _after_status(state: State, life: int) -> State:
    trial = Trial(state)
    trial.run(set_card_state(life))
    return trial.state


def _example(ins: int) -> Generator[Command, Response, Any]:
    """Commands that end with an accepted one of that instruction."""
    return _EXAMPLES[ins]()


def _put_and_delete(keys: KeySet) -> Generator[Command, Response, None]:
    yield from put_keys(keys, keys, kvn=0x30)
    yield from delete_keys(0x30)


def _load() -> Generator[Command, Response, None]:
    yield from install_for_load(InstallForLoad(_CAP.package.aid))
    yield from load(_CAP.load_file(), size=200)


def _plain(command: Command) -> Generator[Command, Response, bytes]:
    return check((yield command), INSTRUCTIONS[command.ins])


_EXAMPLES: dict[int, Callable[[], Generator[Command, Response, Any]]] = {
    Ins.SELECT: select,
    Ins.INITIALIZE_UPDATE: lambda: initialize_update(_KEYS, _CHALLENGE),
    Ins.GET_DATA: lambda: get_data(Tag.CPLC),
    Ins.GET_DATA_ODD: lambda: _plain(Command(0x00, Ins.GET_DATA_ODD, 0x9F, 0x7F, b"", 0)),
    Ins.GET_STATUS: lambda: get_status(StatusScope.ISSUER_DOMAIN),
    Ins.PUT_KEY: lambda: put_keys(_KEYS, _KEYS, kvn=0x30),
    Ins.DELETE: lambda: _put_and_delete(_KEYS),
    Ins.STORE_DATA: lambda: store_data(bytes.fromhex("0045020102"), size=200),
    Ins.MANAGE_CHANNEL: lambda: _plain(Command(0x00, Ins.MANAGE_CHANNEL, 0x00, 0x00, b"", 1)),
    Ins.BEGIN_R_MAC_SESSION: lambda: _plain(Command(0x80, Ins.BEGIN_R_MAC_SESSION, 0x10, 0x01)),
    Ins.END_R_MAC_SESSION: lambda: _plain(Command(0x80, Ins.END_R_MAC_SESSION, 0x00, 0x03, b"", 0)),
    Ins.INSTALL: lambda: install_for_load(InstallForLoad(_CAP.package.aid)),
    Ins.LOAD: _load,
}


def of_events(state: State) -> dict[str, State]:
    """What is no instruction of the table: reset, a command that does not fit the session."""
    found = {}
    trial = Trial(state)
    trial.element.reset()
    found["reset"] = trial.state
    if state in (State.CHALLENGED, State.LOCKED_CHALLENGED):
        trial = Trial(state)
        trial.exchange(Command(0x80, 0xFE, 0x00, 0x00))
        found["any other command"] = trial.state
    if state in (State.AUTHENTICATED, State.LOCKED_AUTHENTICATED):
        trial = Trial(state)
        trial.exchange(Command(0x84, Ins.GET_DATA, 0x00, 0x66, bytes(8)))
        found["missing or wrong C-MAC"] = trial.state
    return found


def changes() -> dict[tuple[State, State], list[str]]:
    """Every change of state, with what brings it about."""
    found: dict[tuple[State, State], list[str]] = {}
    for state in NAMES:
        tried = {INSTRUCTIONS[ins]: after(state, ins) for ins in LISTED if listed(state, ins)}
        tried |= {event: {"": led} for event, led in of_events(state).items()}
        for name, results in tried.items():
            for how, led in results.items():
                if led is not state:
                    found.setdefault((state, led), []).append(f"{name} {how}".strip())
    return found


def instructions() -> str:
    """Instruction by state: where it leads, or the status word that refuses it."""
    states = list(NAMES)
    rows = []
    for ins in sorted(LISTED):
        level = max((TABLE[state, ins].level for state in states if (state, ins) in TABLE), default=0)
        name = f"{INSTRUCTIONS[ins]} `{ins:02X}`" + (" (C-MAC)" if level else "")
        rows.append((name, *(_cell(state, ins) for state in states)))
    return table(("instruction", *(NAMES[state] for state in states)), rows)


def _cell(state: State, ins: int) -> str:
    if not listed(state, ins):
        return f"`{refusal(state, ins):04X}`"
    return "<br>".join(
        f"{how}{': ' if how else ''}{'stays' if led is state else f'→ {NAMES[led]}'}"
        for how, led in after(state, ins).items()
    )


# ---- the diagram

_SIZE = (210, 46)
_PLACES = {
    State.IDLE: (190, 30),
    State.CHALLENGED: (190, 170),
    State.AUTHENTICATED: (190, 310),
    State.LOCKED: (620, 30),
    State.LOCKED_CHALLENGED: (620, 170),
    State.LOCKED_AUTHENTICATED: (620, 310),
    State.TERMINATED: (405, 430),
}


def diagram() -> str:
    """The states and what leads from one to another, as `changes` found it. Raises KeyError for a way not drawn."""
    drawing = Drawing(1090, 500, "States of the security domain")
    for state, place in _PLACES.items():
        drawing.box(place, _SIZE, (NAMES[state],), fill="#fde8e8" if state is State.TERMINATED else "#f0f4f8")
    ways = _ways()
    for edge, words in changes().items():
        points, at, kind = ways[edge]
        drawing.arrow(*points)
        drawing.lines(at, _folded(words), kind)
    return drawing.svg()


def _folded(words: list[str]) -> list[str]:
    """As few words as say the same: what any command does is not said again of each."""
    if "any other command" in words:
        words = [word for word in words if word.endswith(("refused", "any other command", "reset"))]
    short = {"INITIALIZE UPDATE": "INIT. UPDATE", "EXTERNAL AUTHENTICATE": "EXT. AUTH."}
    for long, brief in short.items():
        words = [word.replace(long, brief) for word in words]
    return words


Way = tuple[tuple[tuple[float, float], ...], tuple[float, float], str]


def _ways() -> dict[tuple[State, State], Way]:
    """Where each arrow runs, and where its words stand."""
    w, h = _SIZE
    found: dict[tuple[State, State], Way] = {}
    columns = (
        (State.IDLE, State.CHALLENGED, State.AUTHENTICATED, -1),
        (State.LOCKED, State.LOCKED_CHALLENGED, State.LOCKED_AUTHENTICATED, 1),
    )
    for idle, challenged, authenticated, side in columns:
        (x, y0), (_, y1), (_, y2) = _PLACES[idle], _PLACES[challenged], _PLACES[authenticated]
        down, up = x + 30.0, x + w - 50.0
        outer = x - 30.0 if side < 0 else x + w + 85.0
        edge = x if side < 0 else x + w
        kind = "s e" if side < 0 else "s"
        found[idle, challenged] = ((down, y0 + h), (down, y1)), (down + 5, y0 + h + 20), "s"
        found[challenged, idle] = ((up, y1), (up, y0 + h)), (up + 5, y0 + h + 45), "s"
        found[challenged, authenticated] = ((down, y1 + h), (down, y2)), (down + 5, y1 + h + 20), "s"
        found[authenticated, challenged] = ((up, y2), (up, y1 + h)), (up + 5, y1 + h + 70), "s"
        way = ((edge, y2 + h / 2), (outer, y2 + h / 2), (outer, y0 + h / 2), (edge, y0 + h / 2))
        found[authenticated, idle] = way, (outer + 6 * side, y1 + h / 2), kind
        end = _PLACES[State.TERMINATED]
        foot = x + w / 2
        to = (end[0], end[1] + h / 2) if side < 0 else (end[0] + w, end[1] + h / 2)
        found[authenticated, State.TERMINATED] = (
            ((foot, y2 + h), (foot, end[1] + h / 2), to),
            (foot + 8 * side, end[1] + h / 2 + 4),
            "s e" if side < 0 else "s",
        )
    (left, y2), (right, _) = _PLACES[State.AUTHENTICATED], _PLACES[State.LOCKED_AUTHENTICATED]
    middle = (left + w + right) / 2
    for first, second, offset in ((left + w, right, 12), (right, left + w, 34)):
        pair = (State.AUTHENTICATED, State.LOCKED_AUTHENTICATED)
        found[pair if first < second else pair[::-1]] = (
            ((first, y2 + offset), (second, y2 + offset)),
            (middle, y2 + offset + (-6 if first < second else 15)),
            "s c",
        )
    return found


FILES = {"docs/img/scp03-states.svg": diagram}
PARTS = {"docs/scp03.md": {"instructions": instructions}}
