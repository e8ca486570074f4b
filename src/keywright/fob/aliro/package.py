"""The load file that stands for the Aliro applet on a simulated fob: right in form, its code elsewhere (`modules`)."""

from __future__ import annotations

from keywright.aliro.messages import EXPEDITED_AID, STEP_UP_AID
from keywright.fob.aliro.messages import EXPEDITED_MODULE, PACKAGE_AID, STEP_UP_MODULE
from keywright.globalplatform.cap.build import make_cap
from keywright.globalplatform.cap.file import Cap
from keywright.globalplatform.dialogues.installing import Wanted

INSTANCES = (Wanted(EXPEDITED_MODULE, EXPEDITED_AID), Wanted(STEP_UP_MODULE, STEP_UP_AID))
"""What is installed of it."""


def load_file() -> Cap:
    """The CAP file."""
    return make_cap(PACKAGE_AID, (EXPEDITED_MODULE, STEP_UP_MODULE))
