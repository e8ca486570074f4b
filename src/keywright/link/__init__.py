"""Where bytes flow for real: links to devices, ways to serve one, and wrappers that record, replay and fail."""

from __future__ import annotations

from keywright.link.base import AsyncExchange, Exchange, Frame, Port
from keywright.link.fault import Fault, FaultAt
from keywright.link.loopback import Loopback
from keywright.link.pcsc import PcscLink, list_readers
from keywright.link.record import Recording
from keywright.link.replay import Replay
from keywright.link.tcp import TcpLink, TcpServer
from keywright.link.trace import Event, TraceFile, read_trace
from keywright.link.vpcd import VpcdServer

__all__ = [
    "AsyncExchange",
    "Event",
    "Exchange",
    "Fault",
    "FaultAt",
    "Frame",
    "Loopback",
    "PcscLink",
    "Port",
    "Recording",
    "Replay",
    "TcpLink",
    "TcpServer",
    "TraceFile",
    "VpcdServer",
    "list_readers",
    "read_trace",
]
