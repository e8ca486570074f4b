"""Bluetooth Low Energy through bumble (extra `ble`): a virtual controller in this process, or any HCI device."""

from __future__ import annotations

from keywright.link.ble.blocking import Ble, BleConnection, Serving, Shared
from keywright.link.ble.connection import Connection
from keywright.link.ble.pipe import Advertisement, AsyncValues, Linked, Peripheral, Pipe, Values, arun_pipe, run_pipe
from keywright.link.ble.radio import Radio, VirtualAir
from keywright.link.ble.server import serve

__all__ = [
    "Advertisement",
    "AsyncValues",
    "Ble",
    "BleConnection",
    "Connection",
    "Linked",
    "Peripheral",
    "Pipe",
    "Radio",
    "Serving",
    "Shared",
    "Values",
    "VirtualAir",
    "arun_pipe",
    "run_pipe",
    "serve",
]
