"""Keys in a token: card key sets wholly inside SoftHSM2 against a bare loop with the same objects, and channels.

Ours goes through the HSM client, a process of its own; the bare loop calls python-pkcs11 in this process, with the same
master, the same K-DEK and the same objects for each card: one to be wrapped and one to be checked, of each of three
keys. Where SoftHSM2 or python-pkcs11 is missing, no rows.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.figures import Figure, rate
from bench.measure import Contender, race
from keywright.crypto.diversification import ecb_blocks
from keywright.errors import KeywrightError
from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.keystores.keystore import Diversified, FactorySet
from keywright.scp.scp03.host import verify_card
from keywright.scp.scp03.keys import CARD_CRYPTOGRAM, KeySet, derive, derive_session
from keywright.scp.scp03.messages import InitializeUpdateResponse8

TESTS: Final = Path(__file__).resolve().parents[2] / "tests"
CARDS: Final = 32
ROUNDS: Final = 15
LEVEL: Final = 0x33
_CHALLENGE: Final = bytes(range(8))
_ONES: Final = b"\x01" * 16


def figures() -> list[Figure]:
    """Every row, or none where there is no token to be had."""
    try:
        with _keystore() as (keystore, bare):
            return _measured(keystore, bare)
    except (ImportError, OSError, KeywrightError) as error:
        print(f"keys in a token are not measured: {error}", file=sys.stderr)
        return []


def _measured(keystore: Pkcs11Keystore, bare: Any) -> list[Figure]:
    counter = itertools.count()
    session, _ = _opened(keystore).authenticate(LEVEL)

    def contexts() -> list[bytes]:
        return [next(counter).to_bytes(8) for _ in range(CARDS)]

    def ours() -> None:
        for keys in keystore.card_keys_of([Diversified("issuer", "ecb", one, 16) for one in contexts()]):
            keys.wrap_for(session)

    def channel() -> None:
        opened, _ = _opened(keystore).authenticate(LEVEL)
        opened.close()

    keys, answer = KeySet.gp_test(), _answer()

    def software() -> None:
        verify_card(keys, _CHALLENGE, answer).authenticate(LEVEL)

    found = race(
        [
            Contender("ours", ours, CARDS),
            Contender("bare", lambda: _bare(bare, contexts()), CARDS),
            Contender("channel", channel),
            Contender("software", software),
        ],
        rounds=ROUNDS,
        clock=time.perf_counter,
    )
    per_s = {name: 1 / found.median(name) for name in found.seconds}
    return [
        Figure(
            "card key sets inside SoftHSM: 3 keys, check values, wrapped for PUT KEY",
            rate(per_s["ours"]),
            f"bare PKCS#11 {rate(per_s['bare'])}",
            found.speed("ours", "bare"),
            0.5,
        ),
        Figure(
            "SCP03 channels opened and closed with every key inside SoftHSM",
            rate(per_s["channel"]),
            f"in memory {rate(per_s['software'])}",
            per_s["channel"],
            form="{:,.0f}/s",
        ),
    ]


def _answer() -> InitializeUpdateResponse8:
    """What a card with the test keys answers."""
    challenge = bytes(8)
    session = derive_session(KeySet.gp_test(), _CHALLENGE + challenge)
    cryptogram = derive(session.mac, CARD_CRYPTOGRAM, _CHALLENGE + challenge, 8)
    return InitializeUpdateResponse8(bytes(10), 0xFF, 3, 0x70, challenge, cryptogram, bytes(3))


def _opened(keystore: Pkcs11Keystore) -> Any:
    return keystore.card_keys(FactorySet("gp-test", bytes(10))).open(_CHALLENGE, _answer())


def _bare(token: Any, contexts: list[bytes]) -> None:
    """The same derivations, check values and wraps, one call after another."""
    session, master, dek = token
    for context in contexts:
        for data in ecb_blocks(context, 16):
            check = session.derive(master, data, 16, "new-key-check")
            session.ecb(check, _ONES)
            check.destroy()
            new = session.derive(master, data, 16, "new-key")
            session.wrap_cbc(dek, new)
            new.destroy()


@contextmanager
def _keystore() -> Iterator[tuple[Pkcs11Keystore, Any]]:
    """A token of our own, its keystore through the HSM client, and the same token in this process."""
    sys.path.append(str(TESTS))
    import pytest  # noqa: PLC0415 - the tests' own way to make a token, only where this is measured

    from support.softhsm import make_token  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as environment:
        made = make_token(Path(place), environment)
        keystore = Pkcs11Keystore.create(made.parsed, now=datetime.now(UTC))
        try:
            yield keystore, _in_this_process(made)
        finally:
            keystore.close()


def _in_this_process(made: Any) -> Any:
    from keywright.production.hsm.token import TokenSession, find_token, load_library, log_in  # noqa: PLC0415 - an extra
    from keywright.production.hsm.token_registry import TokenRegistry  # noqa: PLC0415 - needs the extra

    session = TokenSession(log_in(find_token(load_library(made.module), made.label), made.pin))
    keys = TokenRegistry.read(session).keys
    master = session.key(keys["issuer"].only_object("master"), "master")
    dek = session.key(keys["gp-test"].object_for("k-dek", "dek") or b"", "k-dek")
    return session, master, dek
