"""The table of rights keeps its own rules, and templates write all of it out."""

from __future__ import annotations

import itertools

import pytest

from keywright.production.hsm.attributes import KINDS, NEVER_TOGETHER, RIGHTS

# Rows of the policy: extractable, then the rights. Columns a row does not name are off.
POLICY = {
    "root-ca": (False, "sign"),
    "ca": (False, "sign"),
    "identity": (False, "sign"),
    "issuer": (False, "sign"),
    "line-wrap": (False, "unwrap decrypt"),
    "sku-wrap-offline": (True, "wrap unwrap"),
    "sku-wrap": (False, "unwrap"),
    "master-offline": (True, "derive"),
    "master": (False, "derive"),
    "static": (False, "derive"),
    "static-encrypt": (False, "encrypt"),
    "static-sign": (False, "sign"),
    "s-enc": (False, "encrypt decrypt"),
    "s-mac": (False, "sign"),
    "k-dek": (False, "wrap encrypt"),
    "new-key": (True, ""),
    "new-key-check": (False, "encrypt"),
    "transport": (False, "wrap unwrap"),
    "record-mac": (False, "sign"),
}


def test_the_table_is_the_policy() -> None:
    assert {name: (kind.extractable, set(kind.rights)) for name, kind in KINDS.items()} == {
        name: (extractable, set(rights.split())) for name, (extractable, rights) in POLICY.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_no_key_has_two_rights_that_undo_each_other(name: str) -> None:
    kind = KINDS[name]
    assert not [pair for pair in NEVER_TOGETHER if all(kind.may(right) for right in pair)]


@pytest.mark.parametrize(("name", "in_token"), list(itertools.product(KINDS, (False, True))))
def test_a_template_writes_every_right_and_forbids_changes_last(name: str, *, in_token: bool) -> None:
    from support.softhsm import require_softhsm

    require_softhsm()
    from pkcs11 import Attribute

    from keywright.production.hsm.token import template

    kind = KINDS[name]
    made = template(kind, in_token=in_token, label="x", object_id=b"x")
    assert {right: made[Attribute[right.upper()]] for right in RIGHTS} == {right: kind.may(right) for right in RIGHTS}
    assert made[Attribute.SENSITIVE] is made[Attribute.PRIVATE] is True
    assert made[Attribute.EXTRACTABLE] is kind.extractable
    assert list(made)[-1] is Attribute.MODIFIABLE
    assert made[Attribute.MODIFIABLE] is False


def test_an_attribute_that_the_library_cannot_write_never_reaches_it() -> None:
    from support.softhsm import require_softhsm

    require_softhsm()
    from pkcs11 import Attribute

    from keywright.production.hsm.token import checked

    with pytest.raises(TypeError, match="cannot be written"):
        checked({Attribute.ALLOWED_MECHANISMS: b""})
