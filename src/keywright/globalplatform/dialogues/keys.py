"""Keys from outside: PUT KEY of any kind of key, and key information in full (GPCS 11.8, 11.3.3.1)."""

from __future__ import annotations

from collections.abc import Sequence

from keywright.errors import DecodeError, WireError
from keywright.globalplatform.dialogues.chaining import send
from keywright.globalplatform.host import Dialogue, confirm_keys, get_value
from keywright.globalplatform.key_data import MAX_KID, MAX_KVN, KeyField, NewKeys
from keywright.globalplatform.key_fields import CardKey, key_field
from keywright.globalplatform.key_information import KeyDescription, parse_keys
from keywright.globalplatform.messages import MULTIPLE_KEYS, Ins, Tag
from keywright.globalplatform.profile import DEFAULT, CardProfile
from keywright.iso7816.apdu import Command
from keywright.iso7816.layers import SHORT_LC
from keywright.scp.session import Dek


def put_key_fields(
    fields: Sequence[KeyField], *, kvn: int, kid: int = 1, replace: int = 0, size: int = SHORT_LC
) -> Dialogue[None]:
    """PUT KEY of fields that are ready: identifiers from `kid` upwards, under the version number `kvn`.

    replace: the version number they take the place of, 0 to add. The card's check values are compared with ours. Raises
    KcvMismatchError when it confirms other keys, ValueError for numbers that cannot be.
    """
    if not (1 <= kvn <= MAX_KVN and 1 <= kid <= kid + len(fields) - 1 <= MAX_KID and 0 <= replace <= MAX_KVN):
        raise ValueError(f"key version numbers and identifiers are 01 to {MAX_KVN:02X}")
    p2 = kid | (MULTIPLE_KEYS if len(fields) > 1 else 0)
    command = Command(0x80, Ins.PUT_KEY, replace, p2, NewKeys(kvn, tuple(fields)).build(), 0)
    answer = yield from send(command, f"PUT KEY (KVN {kvn:02X} KID {kid:02X})", size=size)
    confirm_keys(answer, kvn, b"".join(field.kcv for field in fields))


def put_key(
    key: CardKey | Sequence[CardKey],
    dek: Dek,
    *,
    kvn: int,
    kid: int = 1,
    replace: int = 0,
    usage: bytes = b"",
    access: bytes = b"",
    inner_length: bool | None = None,
    profile: CardProfile = DEFAULT,
    size: int = SHORT_LC,
) -> Dialogue[None]:
    """PUT KEY of one key or several of any kind, encrypted under the data encryption key of the session.

    usage and access: in the extended format, the same for all. The rest as `put_key_fields` and `key_field` have it.
    """
    keys = key if isinstance(key, Sequence) else (key,)
    fields = [
        key_field(one, dek, inner_length=inner_length, usage=usage, access=access, profile=profile) for one in keys
    ]
    yield from put_key_fields(fields, kvn=kvn, kid=kid, replace=replace, size=size)


def describe_keys() -> Dialogue[tuple[KeyDescription, ...]]:
    """Every key of the security domain with all that the card says of it; empty when it does not say."""
    data = yield from get_value(Tag.KEY_INFORMATION)
    if data is None:
        return ()
    try:
        return parse_keys(data)
    except DecodeError as error:
        raise WireError(f"key information of the card: {error}") from error
