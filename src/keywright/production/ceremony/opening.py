"""From the keystore that a plan names to a target; a keystore that a key is brought to is made if it is not there."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from keywright.errors import KeywrightError, UsageError
from keywright.production.ceremony.plan import Plan
from keywright.production.ceremony.software_target import SoftwareTarget
from keywright.production.ceremony.target import Target
from keywright.production.keystores.keystore import Unlock
from keywright.production.keystores.keystore_uri import keystore_path
from keywright.production.keystores.software_keystore import SoftwareKeystore, unlock_key

_BRINGS = ("create", "import", "restore")


def open_target(plan: Plan, unlock: Unlock | None) -> Target:
    """The keystore of the plan. `unlock`: what opens it, for a token the file with its PIN.

    Raises StoreError if it does not open, UsageError for a production key into a software keystore.
    """
    if plan.target.startswith("pkcs11:"):
        return _token(plan, unlock)
    path = keystore_path(plan.target)
    if not plan.test:
        raise UsageError(
            "a software keystore holds TEST keys only", hint="draft the ceremony with --test, or for a pkcs11: token"
        )
    if not path.exists() and plan.kind in _BRINGS:
        SoftwareKeystore.create(path, now=datetime.now(UTC), unlock=unlock, entries=())
    return SoftwareTarget(plan.target, path, lambda: unlock_key(path, unlock), os.urandom)


def _token(plan: Plan, unlock: Unlock | None) -> Target:
    try:
        from keywright.production.ceremony.token_target import open_token  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise KeywrightError(
            "keys in a token need the extra hsm", hint="install it: pip install 'keywright[hsm]'"
        ) from error
    return open_token(plan, unlock)
