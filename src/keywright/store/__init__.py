"""Memories of devices and networks: in RAM, or in a journal file that survives a kill."""

from __future__ import annotations

from keywright.store.journal import Journal, JournalMemory
from keywright.store.memory import Memory, RamMemory

__all__ = ["Journal", "JournalMemory", "Memory", "RamMemory"]
