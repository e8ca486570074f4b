"""Session keys of SCP11 in a file, for `keywright decode --session-keys`: of simulated cards, and only if asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from keywright.cli.keyfile import session_keys
from keywright.errors import PolicyError, UsageError
from keywright.fob.uri import is_simulated
from keywright.scp import scp11
from keywright.scp.session import HostSession

_WHAT: Final = "session key file"
_TABLE: Final = b"[[session]]\n"
_LIMIT: Final = 1 << 20


def demand_simulated(uri: str) -> None:
    """Raises PolicyError for a real card: its session keys stay in this process."""
    if not is_simulated(uri):
        raise PolicyError(
            "session keys are kept of simulated cards only",
            hint="leave --keep-session-keys; SCP02 and SCP03 decode with the card's keys",
        )


def keep(path: Path, session: HostSession) -> None:
    """Append the keys of an open session to a private file, made if it is not there.

    Raises UsageError for another protocol than SCP11 or another kind of file, PolicyError for one that others can read.
    """
    from keywright.production.private_file import read_private, replace_file  # noqa: PLC0415 - loads the database, too

    if not isinstance(session, scp11.HostChannel):
        raise UsageError(
            f"--keep-session-keys is for SCP11, and this is SCP{session.scp:02X}",
            hint="its recording decodes with the card's keys: keywright decode FILE --keys ...",
        )
    before = b""
    if path.exists():
        session_keys(path)
        before = read_private(path, _WHAT, _LIMIT)
        if not before.startswith(_TABLE):
            raise UsageError(f"{path}: there already, and not made by this", hint="give the path of a new file")
    keys = session.session
    values = {"s_enc": keys.enc.reveal(), "s_mac": keys.mac.reveal(), "s_rmac": keys.rmac.reveal()}
    lines = [f'{name} = "{value.hex().upper()}"\n' for name, value in (*values.items(), ("receipt", session.receipt))]
    replace_file(path, _WHAT, before + _TABLE + "".join(lines).encode())
