"""The virtual secure element: OPEN, issuer security domain, applets, persistent memory."""

from keywright.element.applet import Applet, Context
from keywright.element.open import SecureElement

__all__ = ["Applet", "Context", "SecureElement"]
