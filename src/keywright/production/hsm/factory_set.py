"""A factory key set going into a token: this process logs in for it, as a ceremony's host does, and logs out again."""

from __future__ import annotations

from pathlib import Path

from keywright.errors import PolicyError
from keywright.production.hsm.fresh import KeyMaker
from keywright.production.hsm.pin import read_pin
from keywright.production.hsm.token import TokenSession, find_token, load_library, log_in
from keywright.production.hsm.token_registry import TokenRegistry, keep_people, store_record
from keywright.production.hsm.uri import TokenUri
from keywright.production.keystores.factory_sets import check_free
from keywright.production.keystores.keystore import Unlock
from keywright.production.keystores.registry import KeyRecord
from keywright.scp.scp03.keys import KeySet


def keep_in_token(
    uri: TokenUri, unlock: Unlock | None, name: str, keys: KeySet, *, at: int, owner: str, people: str
) -> KeyRecord:
    """Keep the set, one object for each use; it is there when this returns, in a production token pre-active.

    `people`: id of the directory of those who allowed it; empty for a TEST token. Raises KeyStateError for people whom
    a production token does not know.

    A crash before that leaves objects that no name leads to; the next store of a key removes them. Raises StoreError if
    a key has, or had, that name, or the token holds no keystore; PolicyError for a PIN that is not accepted.
    """
    if unlock is not None and not isinstance(unlock, Path):
        raise PolicyError("a token has a PIN, no passphrase", hint="give the file with its PIN: --unlock FILE")
    token = find_token(load_library(str(uri.find_module())), uri.label)
    session = TokenSession(log_in(token, read_pin("" if unlock is None else str(unlock))))
    try:
        registry = TokenRegistry.read(session)
        check_free(registry.known, name)
        keep_people(session, registry, people)
        maker = KeyMaker(session, registry.head, now=at, owner=owner)
        record = maker.factory_set(name, (keys.enc.reveal(), keys.mac.reveal(), keys.dek.reveal()))
        store_record(session, record)
        return record.entry
    finally:
        session.raw.close()
