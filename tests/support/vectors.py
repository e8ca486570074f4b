"""Test vectors: files of cases under tests/vectors, each counted, each read by a named test module.

    @vectors("scp/kcv.json")
    def test_key_check_value(case: Case) -> None:
        assert AesKey(unhex(case["key"])).kcv() == unhex(case["kcv"])

A file that is not in `FILES`, or whose number of cases differs from the number written there, is an error, never a
skip. `tests/test_vectors.py` checks that the table and the directory agree and that every file has its readers.
"""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest

VECTORS = pathlib.Path(__file__).parent.parent / "vectors"

Case: TypeAlias = dict[str, Any]
"""One case as the file has it; hex strings stay text, see `unhex`. Wycheproof: plus `group`, what its group says."""


class Source(NamedTuple):
    """How many cases a file has, all parts together, and which test modules read it (paths below tests)."""

    cases: int
    readers: tuple[str, ...]


FILES: dict[str, Source] = {
    "crypto/cose_sign1.json": Source(11, ("crypto/test_cose.py",)),
    "crypto/jws.json": Source(1, ("crypto/test_jws.py",)),
    "crypto/rsa_rfc.json": Source(2, ("crypto/test_rsa.py",)),
    "digitalkey/aliro_access_documents_signed.json": Source(6, ("aliro/documents/test_verification.py",)),
    "digitalkey/aliro_ble_dynamic_tag.json": Source(3, ("aliro/ble/test_aliro_ble_advertising.py",)),
    "digitalkey/aliro_expedited_fast.json": Source(1, ("aliro/test_aliro_keys.py",)),
    "digitalkey/aliro_expedited_standard.json": Source(
        1,
        (
            "aliro/ble/test_aliro_ble_channel.py",
            "aliro/test_aliro_keys.py",
            "aliro/test_aliro_messages.py",
            "aliro/test_pair_with_example.py",
        ),
    ),
    "digitalkey/aliro_key_slot.json": Source(1, ("aliro/test_certificates.py",)),
    "digitalkey/aliro_reader_certificates.json": Source(4, ("aliro/test_certificates.py",)),
    "digitalkey/aliro_stepup.json": Source(1, ("aliro/documents/test_documents.py", "aliro/test_envelope.py")),
    "digitalkey/ccc_uwb_key_ladder.json": Source(
        2,  # the two of hopping; the ladder, its addresses and one frame are single values beside them
        ("cli/test_uwb_decode.py", "uwb/test_uwb_frames.py", "uwb/test_uwb_grid.py", "uwb/test_uwb_keys.py"),
    ),
    "digitalkey/uci_packets.json": Source(38, ("uwb/test_uci_messages.py",)),
    "digitalkey/uwb_sts_drbg_selfcheck.json": Source(1, ("uwb/test_uwb_sts.py",)),
    "digitalkey/spake2plus_draft01_p256.json": Source(1, ("crypto/test_spake2plus.py",)),
    "digitalkey/spake2plus_rfc9383_p256_cmac.json": Source(1, ("crypto/test_spake2plus.py",)),
    "digitalkey/spake2plus_rfc9383_p256_hmac.json": Source(1, ("crypto/test_spake2plus.py",)),
    "factory/keyblocks.json": Source(24, ("crypto/keyblocks/test_keyblocks.py",)),
    "factory/keys.json": Source(
        11,
        ("crypto/test_components.py", "crypto/test_des.py", "crypto/test_diversification.py", "crypto/test_kcv.py"),
    ),
    "factory/merkle.json": Source(57, ("production/audit/test_audit_merkle.py",)),
    "mesh/auth_values.json": Source(7, ("mesh/test_oob.py",)),
    "mesh/beacons_and_proxy.json": Source(
        7,
        (
            "mesh/test_beacons.py",
            "mesh/test_identities.py",
            "mesh/network/test_network_pdu.py",
            "mesh/pb_gatt/test_proxy_filter.py",
            "mesh/pb_gatt/test_proxy_pdus.py",
        ),
    ),
    "mesh/certificate_based.json": Source(3, ("mesh/test_certificates.py", "mesh/test_retrieval.py")),
    "mesh/composition_data.json": Source(3, ("mesh/models/test_configuration_messages.py",)),
    "mesh/key_derivation.json": Source(19, ("mesh/test_mesh_keys.py",)),
    "mesh/network_messages.json": Source(9, ("mesh/network/test_network_pdu.py", "mesh/network/test_transport.py")),
    "mesh/pbadv_trace.json": Source(
        14,
        (
            "mesh/pb_adv/test_pb_adv_link.py",
            "mesh/pb_adv/test_pb_adv_messages.py",
            "mesh/pb_gatt/test_bumble_peers.py",
            "mesh/pb_gatt/test_pb_gatt_link.py",
            "mesh/pb_gatt/test_proxy_pdus.py",
        ),
    ),
    "mesh/provisioning_records_trace.json": Source(
        4, ("mesh/pb_adv/test_pb_adv_messages.py", "mesh/test_record_fetch.py")
    ),
    "mesh/provisioning_crypto.json": Source(
        2,
        (
            "mesh/pb_adv/test_pb_adv_link.py",
            "mesh/pb_gatt/test_btmesh.py",
            "mesh/pb_gatt/test_bumble_peers.py",
            "mesh/pb_gatt/test_pb_gatt_link.py",
            "mesh/test_device.py",
            "mesh/test_mesh_keys.py",
            "mesh/test_provisioner.py",
        ),
    ),
    "scp/client_traces.json": Source(
        9,
        (
            "cli/test_telling.py",
            "element/test_client_traces.py",
            "globalplatform/cap/test_cap.py",
            "globalplatform/dialogues/test_content.py",
            "globalplatform/dialogues/test_foreign_hosts.py",
            "globalplatform/test_explain.py",
            "globalplatform/test_install.py",
            "globalplatform/test_key_data.py",
            "globalplatform/test_messages.py",
            "globalplatform/test_unwrapping.py",
        ),
    ),
    "scp/diversification.json": Source(6, ("crypto/test_diversification.py",)),
    "scp/kcv.json": Source(5, ("crypto/test_aes.py", "crypto/test_des.py")),
    "scp/ota_scp10.json": Source(2, ("crypto/test_rsa.py", "support/scp10.py")),
    "scp/ota_remote_format.json": Source(
        33,
        (
            "scp/scp80/test_scp80_push.py",
            "scp/scp80/test_scp80_remote_format.py",
            "scp/scp80/test_scp80_toolkit_parameters.py",
        ),
    ),
    "scp/ota_scp80_packets.json": Source(
        74, ("scp/scp80/test_scp80_card.py", "scp/scp80/test_scp80_host.py", "scp/scp80/test_scp80_packets.py")
    ),
    "scp/ota_scp80_sms.json": Source(11, ("scp/scp80/test_scp80_sms.py",)),
    "scp/ota_scp81.json": Source(20, ("scp/scp81/test_scp81_keys.py", "scp/scp81/test_scp81_parameters.py")),
    "scp/ota_scp02_rmac_implicit.json": Source(4, ("scp/test_scp02_vectors.py",)),
    "scp/scp02.json": Source(
        2, ("scp/test_scp02_vectors.py", "globalplatform/test_unwrapping.py", "globalplatform/test_detect.py")
    ),
    "scp/scp03_kaoh.json": Source(
        2,
        (
            "scp/test_scp03_host.py",
            "scp/test_scp03_card.py",
            "globalplatform/test_detect.py",
            "production/hsm/test_hsm_recorded_sessions.py",
            "production/hsm/test_hsm_watchdog.py",
        ),
    ),
    "scp/scp03_openscp.json": Source(
        6,
        (
            "scp/test_scp03_host.py",
            "scp/test_scp03_card.py",
            "globalplatform/test_unwrapping.py",
            "globalplatform/test_detect.py",
            "production/hsm/test_hsm_recorded_sessions.py",
            "production/hsm/test_hsm_watchdog.py",
        ),
    ),
    "scp/scp03_pysim_euicc.json": Source(
        9,
        (
            "scp/test_scp03_host.py",
            "scp/test_scp03_card.py",
            "globalplatform/test_unwrapping.py",
            "globalplatform/test_detect.py",
            "production/hsm/test_hsm_recorded_sessions.py",
            "production/hsm/test_hsm_watchdog.py",
        ),
    ),
    "scp/t1_scenarios.json": Source(
        88,  # and 25 of ISO 14443-4, which the file keeps one level deeper; test_t1_scenarios counts all 113
        (
            "iso7816/test_iso14443_scenarios.py",
            "iso7816/test_pps.py",
            "iso7816/test_t0_scenarios.py",
            "iso7816/test_t1_scenarios.py",
        ),
    ),
    "scp/scp11_hostid.json": Source(
        9, ("scp/test_scp11_card.py", "scp/test_scp11_host.py", "globalplatform/test_unwrapping.py")
    ),
    "scp/scp11_openscp.json": Source(
        8, ("scp/test_scp11_card.py", "scp/test_scp11_host.py", "globalplatform/test_unwrapping.py")
    ),
    "scp/scp11_yubikey_trace.json": Source(12, ("scp/test_scp11_host.py",)),
    "wycheproof/aes_cbc_pkcs5_test.json.gz": Source(216, ("crypto/test_wycheproof.py",)),
    "wycheproof/aes_gcm_test.json.gz": Source(316, ("crypto/test_wycheproof.py",)),
    "wycheproof/aes_siv_cmac_test.json.gz": Source(442, ("crypto/test_wycheproof.py",)),
    "wycheproof/ecdh_brainpoolP256r1_test.json.gz": Source(804, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ecdh_secp256r1_test.json.gz": Source(612, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ecdh_secp384r1_test.json.gz": Source(1047, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ecdsa_brainpoolP256r1_sha256_test.json.gz": Source(485, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ecdsa_secp256r1_sha256_test.json.gz": Source(484, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ecdsa_secp384r1_sha384_test.json.gz": Source(504, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/ed25519_test.json.gz": Source(151, ("crypto/test_wycheproof_curves.py",)),
    "wycheproof/hkdf_sha256_test.json.gz": Source(86, ("crypto/test_wycheproof.py",)),
    "wycheproof/hmac_sha256_test.json.gz": Source(174, ("crypto/test_wycheproof.py",)),
    "wycheproof/x25519_test.json.gz": Source(518, ("crypto/test_wycheproof_curves.py",)),
}
"""Every vector file. A new reader is added here; `test_vectors` fails without."""


def unhex(text: object) -> bytes:
    """A hex field of a case as bytes. Raises TypeError or ValueError for anything else."""
    if not isinstance(text, str):
        raise TypeError(f"not a hex field: {text!r}")
    return bytes.fromhex(text)


@functools.cache
def document(name: str) -> dict[str, Any]:
    """The whole file `name` (a path below tests/vectors). Raises LookupError if it is not listed or has lost cases."""
    if name not in FILES:
        raise LookupError(f"list {name} with its number of cases and readers in tests/support/vectors.py")
    path = VECTORS / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    content: dict[str, Any] = json.loads(text)
    found = sum(1 for part in _parts(content) for _ in _cases(content, part))
    if found != FILES[name].cases:
        raise LookupError(f"{name} has {found} cases, not {FILES[name].cases}")
    return content


@functools.cache
def load(name: str, part: str = "") -> list[Case]:
    """All cases of a file; `part` names the list in a file that has several (factory/keys.json)."""
    content = document(name)
    parts = _parts(content)
    if part not in parts and (part or len(parts) != 1):
        raise LookupError(f"{name} has the parts {', '.join(parts)}, not {part!r}")
    return list(_cases(content, part or parts[0]))


def vectors(name: str, part: str = "") -> pytest.MarkDecorator:
    """Run a test once for every case of a file (argument `case`); ids name the case as the file does."""
    cases = load(name, part)
    return pytest.mark.parametrize("case", cases, ids=[_id(case, number) for number, case in enumerate(cases)])


def _parts(content: dict[str, Any]) -> list[str]:
    """The lists of cases; "" stands for the file itself, when it is one case and has no list."""
    found = [key for key, value in content.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    return found or [""]


def _cases(content: dict[str, Any], part: str) -> Iterator[Case]:
    for entry in content[part] if part else [content]:
        if part == "testGroups":
            group = {key: value for key, value in entry.items() if key != "tests"}
            yield from ({**test, "group": group} for test in entry["tests"])
        else:
            yield entry


def _id(case: Case, number: int) -> str:
    return str(next((case[key] for key in ("id", "name", "tcId") if key in case), number))
