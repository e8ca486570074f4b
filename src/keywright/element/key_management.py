"""DELETE of keys (GPCS 11.2.2.3.2). How they come is told in `put_key.py`."""

from __future__ import annotations

from typing import Final

from keywright.element.channel import Channel
from keywright.element.domain import Domain, static_keys
from keywright.element.scp11_objects import forget_key
from keywright.element.state import KEYS, KeyRecord, KeySetRecord, Transaction, counter_name, key_set_name
from keywright.globalplatform.key_data import ComponentType
from keywright.globalplatform.messages import DeleteKey
from keywright.iso7816.apdu import Response
from keywright.iso7816.refusal import Refusal
from keywright.iso7816.status import SW
from keywright.scp.scp11.messages import SCP11, VARIANTS

_DONE = b"\0"
_AGREEMENT_KIDS: Final = frozenset(variant.kid for variant in VARIANTS if variant.authenticates_host)


def delete_keys(channel: Channel, request: DeleteKey, change: Transaction, *, even_last: bool) -> Response:
    """Delete every key of a version number, an identifier, or both, with what is stored for it.

    Refuses with 6A88 (no such key), 6985 when no key would be left that opens a session of the owner, unless
    `even_last`.
    """
    domain = channel.domain
    before = {kvn: domain.keys(kvn) for kvn in domain.kvns()}
    after = {kvn: tuple(key for key in keys if not _is_meant(request, kvn, key)) for kvn, keys in before.items()}
    if before == after:
        raise Refusal(SW.REFERENCED_DATA_NOT_FOUND)
    if not even_last and not any(_opens(domain, keys) for keys in after.values()):
        raise Refusal(SW.CONDITIONS_NOT_SATISFIED)
    for kvn, keys in after.items():
        for gone in before[kvn]:
            if gone not in keys:
                forget_key(domain, kvn, gone.kid, change)
        if keys != before[kvn]:
            change.write(domain.name(key_set_name(kvn)), KeySetRecord(keys).build() if keys else None)
        if not keys:
            change.write(domain.name(counter_name(kvn)), None)
    change.write(domain.name(KEYS), bytes(kvn for kvn, keys in after.items() if keys))
    return Response(_DONE)


def _is_meant(request: DeleteKey, kvn: int, key: KeyRecord) -> bool:
    return request.kvn in (None, kvn) and request.kid in (None, key.kid)


def _opens(domain: Domain, keys: tuple[KeyRecord, ...]) -> bool:
    """Whether an owner can open a session with these: a symmetric set, or a key of SCP11a or c."""
    if static_keys(KeySetRecord(keys), domain.offers()) is not None:
        return True
    agreement = (key for key in keys if key.kid in _AGREEMENT_KIDS and key.type == ComponentType.EC_PRIVATE)
    return domain.i_of(SCP11) is not None and any(True for _ in agreement)
