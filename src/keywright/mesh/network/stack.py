"""The network, transport and access layers of one node, as an endpoint (MshPRT 3.4 to 3.7).

Frames are network PDUs; a bearer wraps them. What is received is opened, put together, taken once, and told as an
event; what is sent is numbered, cut, sealed, and sent until it is acknowledged. Not relayed: every node is a leaf.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

import msgspec

from keywright.errors import AuthenticationError, KeywrightError, SequenceError
from keywright.mesh.network.access import AccessMessage, parse_access
from keywright.mesh.network.iv_index import IvIndex, IvState
from keywright.mesh.network.keyring import Keyring
from keywright.mesh.network.keys import AppKey, virtual_address
from keywright.mesh.network.lower import (
    Form,
    Segment,
    SegmentAck,
    Whole,
    build_ack,
    build_segment,
    build_whole,
    cut,
    parse_transport,
    whole_seq,
)
from keywright.mesh.network.pdu import (
    ALL_NODES,
    GROUP_FIRST,
    UNICAST_LAST,
    VIRTUAL_FIRST,
    NetworkPdu,
    open_network,
    seal_network,
    sent_under,
)
from keywright.mesh.network.segmentation import Incoming, Outgoing, Retransmission
from keywright.mesh.network.sequence import ReplayList, SequenceNumbers
from keywright.mesh.network.upper import SHORT_MIC, open_access, seal_access
from keywright.store.memory import Memory

DEFAULT_TTL: Final = 5
_SEEN: Final = 128
"""How many PDUs the network message cache remembers (MshPRT 3.4.5.6 asks for one at least)."""

_MOST_WHOLE: Final = 128
"""Sources of which the last message in segments is remembered, to acknowledge what is sent again of it."""
_MOST_INCOMING: Final = 64
"""Sources that messages are put together from at the same time; a segment of one more is passed over."""


class Received(msgspec.Struct, frozen=True):
    """An access message came, and was taken for the first time."""

    src: int
    dst: int
    message: AccessMessage
    net_index: int
    app_index: int | None
    """Of the application key; None: under a device key."""
    is_new_device_key: bool = False
    """Whether it came under the candidate for the device key."""
    ttl: int = DEFAULT_TTL
    """What was left of its TTL. 0 of a neighbour that meant to be heard by neighbours alone."""


class Delivered(msgspec.Struct, frozen=True):
    """A message in segments has arrived, or to a group was sent often enough."""

    number: int


class Undelivered(msgspec.Struct, frozen=True):
    """Nobody acknowledged a message in segments."""

    number: int
    dst: int


StackEvent: TypeAlias = Received | Delivered | Undelivered


class _Route(msgspec.Struct, frozen=True):
    """From where to where, over which network."""

    src: int
    dst: int
    ttl: int
    net_index: int
    iv_index: int | None = None
    """None: whatever is sent under when it is sent."""


@final
class Stack:
    """Endpoint: what a node has below its models."""

    def __init__(
        self,
        memory: Memory,
        *,
        address: int,
        elements: int,
        keyring: Keyring,
        iv_index: IvIndex,
        retransmission: Retransmission | None = None,
    ) -> None:
        """memory: where sequence numbers and what was heard are kept. address: of the primary element."""
        self.address = address
        self.elements = elements
        self.keyring = keyring
        self.iv_index = iv_index
        self.default_ttl = DEFAULT_TTL
        self.groups: set[int] = set()
        """Group and virtual addresses that models subscribe to."""
        self.labels: set[bytes] = set()
        """Label UUIDs of the virtual ones."""
        self._sequence = SequenceNumbers(memory)
        self._replay = ReplayList(memory)
        self._retransmission = retransmission or Retransmission()
        self._frames: list[bytes] = []
        self._events: list[StackEvent] = []
        self._sending: dict[int, tuple[Outgoing, _Route]] = {}
        self._waiting: list[tuple[int, int, Callable[[float], None]]] = []
        self._incoming: dict[int, tuple[Incoming, _Route]] = {}
        self._whole: dict[int, tuple[tuple[int, int], SegmentAck]] = {}
        self._seen: deque[bytes] = deque(maxlen=_SEEN)
        self._numbers = itertools.count(1)

    # ---- what models ask --------------------------------------------------------------------------------------

    def send(
        self,
        message: AccessMessage,
        dst: int,
        now: float,
        *,
        app_index: int | None = None,
        device: int | None = None,
        net_index: int = 0,
        src: int | None = None,
        ttl: int | None = None,
        label: bytes = b"",
        acknowledged: bool = False,
    ) -> int:
        """Send an access message under an application key, or under the device key of the node `device`.

        acknowledged: in segments even if it is short, so that its arrival is told. Returns a number for `Delivered` and
        `Undelivered`, which come for a message in segments alone. Raises PolicyError for a key that is not here,
        SequenceError and StoreError when no sequence number is to be had, ValueError for a message that does not fit.
        """
        built = message.build()
        if app_index is not None:
            net_index, key = self.keyring.sending_app_key(app_index)
        else:
            key = self.keyring.device_key(self.address if device is None else device)
        src = self.address if src is None else src
        iv_index = self.iv_index.state.sending
        route = _Route(src, dst, self.default_ttl if ttl is None else ttl, net_index, iv_index)
        self.keyring.sending_net_key(net_index)
        form = Form(ctl=False, aid=None if key.is_device_key else key.aid)
        number = next(self._numbers)
        if len(built) + SHORT_MIC <= form.room and not acknowledged:
            seq = self._sequence.take()
            upper = seal_access(key, built, seq=seq, src=src, dst=dst, iv_index=iv_index, label=label)
            self._put(route, build_whole(Whole(form, upper)), seq=seq)
            return number

        def start(now: float) -> None:
            seq = self._sequence.take()
            upper = seal_access(key, built, seq=seq, src=src, dst=dst, iv_index=iv_index, label=label)
            how, to_group = self._retransmission, dst > UNICAST_LAST
            outgoing = Outgoing(cut(form, upper, seq), dst=dst, ttl=route.ttl, to_group=to_group, how=how, now=now)
            self._sending[number] = (outgoing, route)
            self._send_segments(outgoing, route, now, first=seq)

        if any(other.dst == dst for _, other in self._sending.values()):
            # One message in segments to a destination at a time: it is numbered when its turn comes (MshPRT 3.5.3.3).
            self._waiting.append((number, dst, start))
        else:
            start(now)
        return number

    # ---- the IV index -----------------------------------------------------------------------------------------

    @property
    def sequence_left(self) -> int:
        """Sequence numbers that are left under this IV index."""
        return self._sequence.left

    @property
    def is_sending(self) -> bool:
        """Whether a message in segments is on its way: the IV index that is sent under stays until it is through."""
        return bool(self._sending or self._waiting)

    def follow(self, told: IvState, now: float, *, test_mode: bool = False) -> bool:
        """What an authenticated beacon says of the IV index; whether that changed it (MshPRT 3.11.5, 3.11.6).

        Nothing changes while a message in segments is on its way under the index that would go; the beacon comes again.
        Raises StoreError, with nothing changed.
        """
        before = self.iv_index.state.sending
        if self.is_sending and told.sending != before:
            return False
        changed = self.iv_index.heard(told, now, test_mode=test_mode)
        self._restart_sequence(before)
        return changed

    def update_iv_index(self, now: float, *, test_mode: bool = False) -> None:
        """Begin the IV update, or end the one that is in progress.

        Raises SequenceError before its time or while a message in segments is on its way, StoreError.
        """
        before = self.iv_index.state
        if not before.is_updating:
            self.iv_index.begin_update(now, test_mode=test_mode)
            return
        if self.is_sending:
            raise SequenceError("a message in segments is on its way under the old IV index", hint="wait for its end")
        self.iv_index.end_update(now, test_mode=test_mode)
        self._restart_sequence(before.sending)

    def _restart_sequence(self, before: int) -> None:
        # After the new index is in memory: a crash in between wastes numbers, the other order would use some twice.
        if self.iv_index.state.sending != before:
            self._sequence.restart()

    def take_sequence(self) -> int:
        """A sequence number for a PDU that does not go through `send`. Raises SequenceError, StoreError."""
        return self._sequence.take()

    # ---- endpoint ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Take one network PDU. Total: what does not open, was heard before or is not for this node is passed over."""
        if not data or data in self._seen:
            return
        for net_index, key in self.keyring.net_keys(data[0] & 0x7F):
            iv_index = sent_under(data, self.iv_index.state.index)
            try:
                pdu = open_network(key, iv_index, data)
                if self._is_mine(pdu.src) or not self._is_for_me(pdu.dst):
                    return
                self._seen.append(data)
                self._transport(pdu, net_index, iv_index, now)
            except AuthenticationError:
                continue
            except KeywrightError:
                return
            else:
                return

    def outgoing(self, now: float) -> Sequence[bytes]:
        """Network PDUs to send now."""
        for number, (message, route) in list(self._sending.items()):
            self._send_segments(message, route, now)
            if message.due is None:
                del self._sending[number]
                self._events.append(Delivered(number) if message.is_delivered else Undelivered(number, message.dst))
        self._start_waiting(now)
        for src, (incoming, route) in list(self._incoming.items()):
            if incoming.ack_at is not None and now >= incoming.ack_at:
                self._put(route, build_ack(incoming.ack()), ctl=True)
            if now >= incoming.until:
                del self._incoming[src]
        frames, self._frames = self._frames, []
        return frames

    def _start_waiting(self, now: float) -> None:
        waiting, self._waiting = self._waiting, []
        for number, dst, start in waiting:
            if any(route.dst == dst for _, route in self._sending.values()):
                self._waiting.append((number, dst, start))
                continue
            try:
                start(now)
            except KeywrightError:
                self._events.append(Undelivered(number, dst))

    def deadline(self) -> float | None:
        """When `outgoing` is due."""
        times = [message.due for message, _ in self._sending.values() if message.due is not None]
        for incoming, _ in self._incoming.values():
            times.append(incoming.until if incoming.ack_at is None else min(incoming.until, incoming.ack_at))
        if self._frames:
            times.append(float("-inf"))
        return min(times, default=None)

    def events(self) -> Sequence[StackEvent]:
        """What has happened."""
        events, self._events = self._events, []
        return events

    # ---- in ---------------------------------------------------------------------------------------------------

    def _is_mine(self, address: int) -> bool:
        return self.address <= address < self.address + self.elements

    def _is_for_me(self, dst: int) -> bool:
        return self._is_mine(dst) or dst == ALL_NODES or dst in self.groups

    def _transport(self, pdu: NetworkPdu, net_index: int, iv_index: int, now: float) -> None:
        message = parse_transport(pdu.transport, ctl=pdu.ctl)
        match message:
            case SegmentAck():
                self._take_ack(pdu, iv_index, message, now)
            case Whole() if not pdu.ctl:
                if self._replay.is_fresh(pdu.src, iv_index, pdu.seq):
                    self._access(pdu, pdu.seq, message.form, message.upper, net_index, iv_index)
            case Segment() if not pdu.ctl:
                self._take_segment(pdu, message, net_index, iv_index, now)
            case _:
                pass  # control messages of features that are not here: friendship, heartbeat

    def _take_ack(self, pdu: NetworkPdu, iv_index: int, ack: SegmentAck, now: float) -> None:
        if not self._replay.is_fresh(pdu.src, iv_index, pdu.seq):
            return
        self._replay.note(pdu.src, iv_index, pdu.seq)
        for message, route in self._sending.values():
            if message.seq_zero == ack.seq_zero and pdu.dst == route.src and (pdu.src == route.dst or ack.for_another):
                message.acknowledge(ack, now)

    def _take_segment(self, pdu: NetworkPdu, segment: Segment, net_index: int, iv_index: int, now: float) -> None:
        seq_auth = whole_seq(pdu.seq, segment.seq_zero)
        # The answer goes the way back, from the element that was asked, and as far: what is left of the TTL is not
        # what the way takes. 0 says that it is not to be relayed (MshPRT 3.5.3.4).
        ttl = self.default_ttl if pdu.ttl else 0
        back = _Route(pdu.dst if self._is_mine(pdu.dst) else self.address, pdu.src, ttl, net_index)
        whole = self._whole.get(pdu.src)
        if whole is not None and whole[0] == (iv_index, seq_auth):
            if self._is_mine(pdu.dst):
                self._put(back, build_ack(whole[1]), ctl=True)
            return
        # A segment that is sent again has a sequence number of its own; the message has that of its first segment.
        if seq_auth < 0 or not self._replay.is_fresh(pdu.src, iv_index, pdu.seq, seq_auth):
            return
        found = self._incoming.get(pdu.src)
        # Sequence numbers begin at 0 again under the next IV index.
        place = (iv_index, seq_auth)
        if found is None and len(self._incoming) >= _MOST_INCOMING:
            return
        if found is None or (found[0].iv_index, found[0].seq_auth) < place:
            incoming = Incoming(
                segment, seq_auth=seq_auth, iv_index=iv_index, is_for_me=self._is_mine(pdu.dst), ttl=pdu.ttl, now=now
            )
            self._incoming[pdu.src] = (incoming, back)
        elif (found[0].iv_index, found[0].seq_auth) > place:
            return
        else:
            incoming = found[0]
        upper = incoming.add(segment, now)
        if upper is None:
            return
        del self._incoming[pdu.src]
        self._whole.pop(pdu.src, None)  # the latest is the last
        self._whole[pdu.src] = (place, incoming.ack())
        if len(self._whole) > _MOST_WHOLE:
            del self._whole[next(iter(self._whole))]
        if self._is_mine(pdu.dst):
            self._put(back, build_ack(self._whole[pdu.src][1]), ctl=True)
        self._access(
            pdu, seq_auth, segment.form, upper, net_index, iv_index, long_mic=segment.long_mic, in_segments=True
        )

    def _access(
        self,
        pdu: NetworkPdu,
        seq: int,
        form: Form,
        upper: bytes,
        net_index: int,
        iv_index: int,
        *,
        long_mic: bool = False,
        in_segments: bool = False,
    ) -> None:
        for app_index, key in self._candidates(pdu, form, net_index):
            for label in self._labels_of(pdu.dst):
                try:
                    clear = open_access(
                        key,
                        upper,
                        seq=seq,
                        src=pdu.src,
                        dst=pdu.dst,
                        iv_index=iv_index,
                        long_mic=long_mic,
                        label=label,
                    )
                except AuthenticationError:
                    continue
                message = parse_access(clear)
                self._replay.note(pdu.src, iv_index, pdu.seq, seq if in_segments else None)
                is_new = any(key is new for new in self.keyring.new_device_keys.values())
                self._events.append(Received(pdu.src, pdu.dst, message, net_index, app_index, is_new, pdu.ttl))
                return

    def _candidates(self, pdu: NetworkPdu, form: Form, net_index: int) -> Sequence[tuple[int | None, AppKey]]:
        if form.aid is not None:
            return list(self.keyring.app_keys(form.aid, net_index))
        # A device key is that of the node that is asked, or of the one that answers.
        rings = (self.keyring.device_keys, self.keyring.new_device_keys)
        keys = (ring.get(address) for ring in rings for address in (self.address, pdu.src))
        return [(None, key) for key in keys if key is not None]

    def _labels_of(self, dst: int) -> Sequence[bytes]:
        if not VIRTUAL_FIRST <= dst < GROUP_FIRST:
            return (b"",)
        return [label for label in self.labels if virtual_address(label) == dst]

    # ---- out --------------------------------------------------------------------------------------------------

    def _send_segments(self, message: Outgoing, route: _Route, now: float, first: int | None = None) -> None:
        for segment in message.take(now):
            self._put(route, build_segment(segment), seq=first)
            first = None

    def _put(self, route: _Route, transport: bytes, *, seq: int | None = None, ctl: bool = False) -> None:
        pdu = NetworkPdu(
            ctl=ctl,
            ttl=route.ttl,
            seq=self._sequence.take() if seq is None else seq,
            src=route.src,
            dst=route.dst,
            transport=transport,
        )
        iv_index = self.iv_index.state.sending if route.iv_index is None else route.iv_index
        self._frames.append(seal_network(self.keyring.sending_net_key(route.net_index), iv_index, pdu))
