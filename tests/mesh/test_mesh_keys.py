"""The key schedule of mesh gives the values of the standard."""

from __future__ import annotations

from collections.abc import Callable

from keywright.crypto.aes import AesKey
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.mesh.keys import ALGORITHMS, k1, k2, k3, k4, s1, session_keys
from support.vectors import Case, unhex, vectors

DERIVED: dict[str, Callable[[Case], dict[str, object]]] = {
    "s1": lambda case: {"out": s1(case["M_ascii"].encode())},
    "k1": lambda case: {"out": k1(unhex(case["N"]), unhex(case["SALT"]), unhex(case["P"]))},
    "k2": lambda case: dict(
        zip(("NID", "EncryptionKey", "PrivacyKey"), k2(unhex(case["N"]), unhex(case["P"])), strict=True)
    ),
    "k3": lambda case: {"NetworkID": k3(unhex(case["N"]))},
    "k4": lambda case: {"AID": k4(unhex(case["N"]))},
    'k1(N, s1(label), "id128"||01)': lambda case: {
        "out": k1(unhex(case["N"]), s1(case["label_ascii"].encode()), b"id128\x01")
    },
    "vtad": lambda case: {
        "address": 0x8000
        | int.from_bytes(AesKey(s1(case["salt_label"].encode())).cmac(unhex(case["label_uuid"]))[-2:]) & 0x3FFF
    },
}


@vectors("mesh/key_derivation.json")
def test_derived_key_is_the_standards(case: Case) -> None:
    for name, value in DERIVED[case["function"]](case).items():
        expected = unhex(case[name])
        assert value == (int.from_bytes(expected) if isinstance(value, int) else expected), name


@vectors("mesh/provisioning_crypto.json")
def test_session_of_the_standard(case: Case) -> None:
    algorithm = ALGORITHMS[case["Algorithm"]]
    points = [unhex(case[f"{role}PublicKey"]) for role in ("Provisioner", "Device")]
    inputs = b"".join(unhex(case[name]) for name in ("Invite", "Capabilities", "Start")) + b"".join(points)
    assert inputs == unhex(case["ConfirmationInputs"])
    own = EcPrivateKey.from_scalar("P-256", unhex(case["ProvisionerPrivateKey"]))
    secret = own.agree(EcPublicKey.from_point("P-256", b"\x04" + points[1]))
    assert secret == unhex(case["ECDHSecret"])
    salt = algorithm.confirmation_salt(inputs)
    assert salt == unhex(case["ConfirmationSalt"])
    value = unhex(case["AuthValue"])
    key = algorithm.confirmation_key(secret, salt, value)
    assert key == unhex(case["ConfirmationKey"])
    randoms = [unhex(case[f"Random{role}"]) for role in ("Provisioner", "Device")]
    for random, role in zip(randoms, ("Provisioner", "Device"), strict=True):
        assert algorithm.confirmation(key, random, value) == unhex(case[f"Confirmation{role}"])
    keys = session_keys(secret, salt, *randoms)
    assert keys.session_key.reveal() == unhex(case["SessionKey"])
    assert keys.session_nonce == unhex(case["SessionNonce"])
    assert keys.device_key.reveal() == unhex(case["DeviceKey"])
    sealed = keys.session_key.seal(keys.session_nonce, unhex(case["ProvisioningData"]))
    assert sealed == unhex(case["EncryptedProvisioningData"]) + unhex(case["ProvisioningDataMIC"])
