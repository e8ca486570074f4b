"""The three shapes of a protocol (dialogue, responder, endpoint) and what drives them."""

from __future__ import annotations

from keywright.sansio.dialogue import adrive, drive, through
from keywright.sansio.endpoint import Endpoint, arun_endpoint, run_endpoint
from keywright.sansio.responder import Device, Responder

__all__ = ["Device", "Endpoint", "Responder", "adrive", "arun_endpoint", "drive", "run_endpoint", "through"]
