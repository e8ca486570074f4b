"""The audit names what the token does not enforce, and finds what was changed behind the registry's back."""

from __future__ import annotations

from typing import Any

import pytest

from keywright.production.hsm.keystore import Pkcs11Keystore
from keywright.production.hsm.messages import Finding


def audited(inside: Any) -> list[Finding]:
    from keywright.production.hsm.audit import audit_token
    from keywright.production.hsm.mechanisms import Abilities

    return list(audit_token(inside, Abilities("maker", "model", "serial", "library", ("AES_CBC",))))


def wrong(inside: Any) -> list[tuple[str, str]]:
    return [(one.check, one.text) for one in audited(inside) if one.result == "wrong"]


def test_a_new_keystore_is_as_its_table_says_and_softhsm_enforces_no_derive_template(keystore: Pkcs11Keystore) -> None:
    findings = keystore.audit()
    assert [one for one in findings if one.result == "wrong"] == []
    assert {(one.subject, one.check) for one in findings if one.result == "not-enforceable"} == {
        ("master, static", "derive with a readable result"),
        ("new-key", "wrap a key for PUT KEY under a key with a known value"),
    }


def test_every_right_that_an_object_lacks_was_tried(inside: Any) -> None:
    tried = {(one.subject, one.check) for one in audited(inside)}
    for right in ("encrypt", "decrypt", "sign", "wrap", "unwrap"):
        assert ("issuer master", right) in tried
        assert ("issuer master", f"turn {right} on") in tried
    for use in ("read its value", "make it extractable", "copy it with every right", "wrap it under another key"):
        assert ("issuer master", use) in tried
        assert ("device-ca ca", use) in tried
    assert ("device-ca ca", "derive") in tried
    assert ("gp-test k-dek dek", "decrypt") in tried


def test_the_audit_leaves_nothing_behind(inside: Any) -> None:
    before = len(list(inside.raw.get_objects({})))
    audited(inside)
    assert len(list(inside.raw.get_objects({}))) == before


def test_an_object_that_no_record_names_is_found(inside: Any) -> None:
    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template

    inside.generate_aes(128, template(KINDS["master"], in_token=True, label="keywright stray", object_id=b"stray"))
    inside.generate_aes(128, template(KINDS["master"], in_token=True, label="guest", object_id=b"guest"))
    assert wrong(inside) == [
        ("inventory", "an object of ours that no record names"),
        ("inventory", "a foreign object in this token"),
    ]


def test_a_missing_object_is_found(inside: Any) -> None:
    from pkcs11 import Attribute

    (master,) = (handle for handle in inside.objects() if handle[Attribute.LABEL] == "keywright issuer")
    object_id = bytes(master[Attribute.ID])
    master.destroy()
    assert wrong(inside) == [("inventory", f"0 objects with the id {object_id.hex()}")]


def test_a_second_object_with_the_id_of_a_key_is_found(inside: Any) -> None:
    from pkcs11 import Attribute

    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template

    (master,) = (handle for handle in inside.objects() if handle[Attribute.LABEL] == "keywright issuer")
    object_id = bytes(master[Attribute.ID])
    inside.generate_aes(256, template(KINDS["master"], in_token=True, label="keywright issuer", object_id=object_id))
    assert wrong(inside) == [("inventory", f"2 objects with the id {object_id.hex()}")]


@pytest.mark.parametrize("right", ["ENCRYPT", "SIGN", "WRAP", "DECRYPT", "UNWRAP"])
def test_a_right_that_the_table_does_not_give_is_found_and_carried_out(inside: Any, right: str) -> None:
    from pkcs11 import Attribute

    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template

    (master,) = (handle for handle in inside.objects() if handle[Attribute.LABEL] == "keywright issuer")
    object_id = bytes(master[Attribute.ID])
    master.destroy()
    changed = {
        **template(KINDS["master"], in_token=True, label="keywright issuer", object_id=object_id),
        Attribute[right]: True,
    }
    inside.generate_aes(256, changed)
    found = wrong(inside)
    assert ("attributes", f"{right} is True") in found
    carried_out = "was carried out although the object lacks the right"
    failed = "was not refused for want of the right, but failed (GeneralError)"
    assert (right.lower(), failed if right == "UNWRAP" else carried_out) in found


def test_an_object_that_may_be_changed_is_found(inside: Any) -> None:
    from pkcs11 import Attribute

    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template

    (master,) = (handle for handle in inside.objects() if handle[Attribute.LABEL] == "keywright issuer")
    object_id = bytes(master[Attribute.ID])
    master.destroy()
    made = template(KINDS["master"], in_token=True, label="keywright issuer", object_id=object_id)
    inside.generate_aes(256, {**made, Attribute.MODIFIABLE: True})
    found = dict(wrong(inside))
    assert found["attributes"] == "MODIFIABLE is True"
    assert found["change what it may do"] == "was not tried: the token would carry it out"
    assert "copy it with every right" in found
    # An audit that turned a right on, to see whether it can, would leave the master with it.
    (master,) = (handle for handle in inside.objects() if handle[Attribute.LABEL] == "keywright issuer")
    rights = ("EXTRACTABLE", "ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP")
    assert not [right for right in rights if master[Attribute[right]]]


def test_a_token_that_lets_a_probe_be_changed_is_not_asked_to_change_its_keys(
    inside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pkcs11 import Attribute

    from keywright.production.hsm import audit
    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template

    changeable = {**template(KINDS["static"], in_token=False), Attribute.MODIFIABLE: True}
    monkeypatch.setattr(
        audit, "template", lambda kind, **how: changeable if kind is KINDS["static"] else template(kind, **how)
    )
    found = [(one.subject, one.check) for one in audited(inside) if one.result == "wrong"]
    assert ("a session object (static)", "turn encrypt on") in found
    assert ("issuer master", "change what it may do") in found
    assert not [check for subject, check in found if subject == "issuer master" and check.startswith("turn ")]


def test_a_factory_key_with_another_value_is_found(inside: Any) -> None:
    from keywright.production.hsm.attributes import KINDS
    from keywright.production.hsm.token import template
    from keywright.production.hsm.token_registry import TokenRegistry

    object_id = TokenRegistry.read(inside).keys["gp-test"].object_for("static-encrypt", "mac") or b""
    inside.key(object_id, "static-encrypt").destroy()
    inside.forget()
    inside.import_aes(bytes(16), template(KINDS["static-encrypt"], in_token=True, object_id=object_id))
    (found,) = wrong(inside)
    assert found[0] == "check value"
    assert found[1].endswith("the record has 504a77504a77504a77")
