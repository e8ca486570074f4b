"""The card that a verb works on: its link, its open session, and how the verb answers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, final

import msgspec

from keywright.cli.card.kept_keys import demand_simulated, keep
from keywright.cli.card.randomness import Rng, randomness_of
from keywright.cli.card.session import Means, Wish, open_session
from keywright.cli.card.session10 import identity
from keywright.cli.keyfile import GP_TEST, static_keys
from keywright.cli.keyring import read_certificates, read_public_key, read_ring
from keywright.cli.links import DEFAULT, confirm, opened
from keywright.cli.text import say, show_json
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import UsageError
from keywright.fob.uri import is_simulated
from keywright.globalplatform.host import Dialogue, secured
from keywright.globalplatform.messages import Ins
from keywright.iso7816.apdu import Command, Response
from keywright.iso7816.channels import is_secured
from keywright.iso7816.layers import SHORT_LC, transmit
from keywright.link.base import Exchange
from keywright.sansio.dialogue import drive
from keywright.scp import scp11
from keywright.scp.session import HostSession

Result = TypeVar("Result")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The options that every verb takes: which card, which session with it, and how to answer."""

    link: str = ""
    trace: Path | None = None
    json: bool = False
    yes: bool = False
    keys: str = ""
    oce: Path | None = None
    root: Path | None = None
    any_card: bool = False
    card_key: Path | None = None
    keep_session_keys: Path | None = None
    wish: Wish = Wish()

    @property
    def uri(self) -> str:
        """The link, or what stands for none."""
        return self.link or DEFAULT

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing was given that could open a session."""
        return not (self.keys or self.oce or self.root or self.any_card or self.card_key)

    def means(self) -> Means:
        """Keys and certificates out of their files. Raises UsageError for a real card and no keys."""
        name = self.keys
        if self.is_anonymous:
            if not is_simulated(self.uri):
                raise UsageError(
                    f"{self.uri}: a session needs this card's keys",
                    hint=f"give a key file with --keys FILE, or --keys {GP_TEST}",
                )
            name = GP_TEST
        if self.wish.scp == "10" and self.oce is not None:
            return Means(host10=identity(self.oce, self.root))
        return Means(
            static=static_keys(name) if name else None,
            static_name=name,
            holder=None if self.oce is None else _holder(self.oce),
            roots=None if self.root is None else tuple(read_certificates(self.root)),
            any_card=self.any_card,
            card_key=None if self.card_key is None else _card_key(self.card_key),
            today=today(),
        )


def _holder(path: Path) -> scp11.Holder:
    ring = read_ring(path)
    keys = [key for key in ring.private if isinstance(key, EcPrivateKey)]
    if len(keys) != 1:
        raise UsageError(f"{path}: one EC private key is due, there are {len(keys)}")
    return scp11.Holder(keys[0], ring.certificates)


def today() -> str:
    """The day, YYYYMMDD in UTC: a card has no clock, so its host looks whether certificates are valid."""
    return f"{datetime.now(UTC):%Y%m%d}"


def _card_key(path: Path) -> EcPublicKey:
    key = read_public_key(path)
    if not isinstance(key, EcPublicKey):
        raise UsageError(f"{path}: an EC public key is due")
    return key


def _one(command: Command) -> Dialogue[Response]:
    return (yield command)


@final
class Card:
    """One card, opened when it is first needed. Use it as a context manager: at the end it is given up."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._stack = ExitStack()
        self._device: Exchange | None = None
        self._rng: Rng | None = None
        self._session: HostSession | None = None

    def __enter__(self) -> Card:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def device(self) -> Exchange:
        """The link to the card. Raises LinkError, UsageError."""
        if self._device is None:
            self._device = self._stack.enter_context(opened(self.access.link, self.access.trace))
        return self._device

    @property
    def rng(self) -> Rng:
        """Random bytes; those of the recording where one is played back."""
        if self._rng is None:
            self._rng = randomness_of(self.access.uri)
        return self._rng

    @property
    def session(self) -> HostSession | None:
        """The session that is open, if one is."""
        if self._session is not None and not self._session.is_open:
            self._session = None
        return self._session

    @property
    def size(self) -> int:
        """Plain data bytes of one command."""
        return self.authenticated().max_data if self.device.extended else min(SHORT_LC, self.authenticated().max_data)

    def exchange(self, raw: bytes) -> bytes:
        """Send a command as it is. Where it ends the session on the card (SELECT does), it ends here, too."""
        answer = self.device.exchange(raw)
        if len(raw) > 1 and not is_secured(raw[0]) and raw[1] in (Ins.SELECT, Ins.INITIALIZE_UPDATE):
            self.drop()
        return answer

    @property
    def extended(self) -> bool:
        """Whether the link carries extended-length APDUs."""
        return self.device.extended

    def ask(self, dialogue: Dialogue[Result]) -> Result:
        """Run a dialogue without protection."""
        return drive(dialogue, transmit(self))

    def send(self, command: Command) -> Response:
        """One command, under the session if one is open."""
        return self.manage(_one(command)) if self.session is not None else self.ask(_one(command))

    def reset(self) -> bytes:
        """Reset the card; the session is gone."""
        self.drop()
        return self.device.reset()

    def open(self, wish: Wish, means: Means) -> HostSession:
        """Open a session in place of the one that may be there."""
        self.drop()
        kept = self.access.keep_session_keys
        if kept is not None:
            demand_simulated(self.access.uri)
        self._session = self.ask(open_session(wish, msgspec.structs.replace(means, rng=self.rng)))
        if kept is not None:
            keep(kept, self._session)
        return self._session

    def authenticated(self) -> HostSession:
        """The open session; without one, one is opened as the options say."""
        if (session := self.session) is not None:
            return session
        means = self.access.means()
        return self.open(self.access.wish, means)

    def manage(self, dialogue: Dialogue[Result]) -> Result:
        """Run a dialogue under the session."""
        return self.ask(secured(self.authenticated(), dialogue))

    def drop(self) -> None:
        """Forget the session."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def confirm(self, what: str) -> None:
        """Ask before `what` is done to a real card. Raises PolicyError for a no."""
        confirm(self.access.link, what, yes=self.access.yes)

    def answer(self, *, json: bool, yes: bool) -> None:
        """How the next verb answers, and whether it asks."""
        self.access = msgspec.structs.replace(self.access, json=json, yes=yes)

    def tell(self, lines: str | Iterable[str], document: dict[str, Any]) -> None:
        """Answer: the document with --json, else the lines."""
        if self.access.json:
            show_json({"link": self.access.uri, **document})
            return
        for line in [lines] if isinstance(lines, str) else lines:
            say(line)
