"""A vendor's own certificate authority: root, intermediates, and the certificates of devices (MshPRT 5.5).

For simulated devices, tests and lots of one's own. Keys, serial numbers and validity are the caller's; a root that
others trust belongs into an HSM and not into this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from keywright.crypto.chains import issue_certificate, read_certificate
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.mesh.certificates import MOST_INTERMEDIATES, uuid_text
from keywright.mesh.ends import CURVE
from keywright.mesh.records import BASE_URI, DEVICE_CERTIFICATE, FIRST_INTERMEDIATE

if TYPE_CHECKING:
    from keywright.crypto.certificates import Validity

TEST_POLICY: Final = "2.16.840.1.101.3.2.1.48.1"
"""Certificate policy of test certificates, as the standard's sample has it (MshPRT 8.11)."""


@final
class Authority:
    """A CA of a vendor's. Made by `begin`, or by another one's `subordinate`."""

    def __init__(self, key: EcPrivateKey, vendor: str, root: bytes, intermediates: tuple[bytes, ...]) -> None:
        """intermediates: from this authority's own certificate up to the root's last; empty for the root itself."""
        if key.public.curve != CURVE:
            raise ValueError("device certificates are signed with ecdsa-with-SHA256, so by a key on P-256")
        self.root = root
        """DER of the root certificate: what a provisioner trusts."""
        self.intermediates = intermediates
        self._key = key
        self._vendor = vendor
        self._certificate = read_certificate(intermediates[0] if intermediates else root)

    def __repr__(self) -> str:
        return f"<Authority of {self._vendor}>"

    @classmethod
    def begin(
        cls,
        key: EcPrivateKey,
        vendor: str,
        *,
        serial_number: int,
        validity: Validity,
        path_length: int = MOST_INTERMEDIATES,
    ) -> Authority:
        """A new root. validity: aware times from and until. Raises ValueError."""
        root = issue_certificate(
            key,
            None,
            subject=f"{vendor} Root CA",
            organization=vendor,
            public_key=key.public,
            serial_number=serial_number,
            validity=validity,
            path_length=path_length,
        )
        return cls(key, vendor, root, ())

    def subordinate(self, key: EcPrivateKey, name: str, *, serial_number: int, validity: Validity) -> Authority:
        """An intermediate CA below this one. Raises ValueError, also where the path would be too long."""
        left = self._certificate.path_length or 0
        if not left or len(self.intermediates) == MOST_INTERMEDIATES:
            raise ValueError("this CA may have no other below it")
        own = issue_certificate(
            self._key,
            self._certificate,
            subject=name,
            organization=self._vendor,
            public_key=key.public,
            serial_number=serial_number,
            validity=validity,
            path_length=left - 1,
        )
        return Authority(key, self._vendor, self.root, (own, *self.intermediates))

    def certify(
        self,
        uuid: bytes,
        public_key: EcPublicKey,
        *,
        serial_number: int,
        validity: Validity,
        company: int | None = None,
        product: int | None = None,
    ) -> bytes:
        """A device certificate as DER. company, product: as in the composition data, both or neither.

        Raises ValueError.
        """
        if (company is None) != (product is None):
            raise ValueError("a certificate says company and product, or neither")
        name = uuid_text(uuid)
        if company is not None and product is not None:
            name += f" BCID:{company:04x} BPID:{product:04x}"
        return issue_certificate(
            self._key,
            self._certificate,
            subject=name,
            organization=self._vendor,
            public_key=public_key,
            serial_number=serial_number,
            validity=validity,
            policies=(TEST_POLICY,),
            denies_ca=True,
        )

    def records(self, certificate: bytes, base_uri: bytes = b"") -> dict[int, bytes]:
        """The records of a device with this certificate, intermediates and all. base_uri: URI AD data, or none."""
        found = {DEVICE_CERTIFICATE: certificate}
        found |= {FIRST_INTERMEDIATE + place: one for place, one in enumerate(self.intermediates)}
        return found | ({BASE_URI: base_uri} if base_uri else {})
