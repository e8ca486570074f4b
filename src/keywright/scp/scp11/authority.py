"""Issue the certificates of SCP11: a root, an intermediate below it, and the certificates of both ends' keys.

root = Authority.root(key, "host", "CA-KLOC", 1, validity)
middle = root.intermediate(other_key, "KA-KLOC", 2)
chain = (middle.certificate, middle.issue(oce_key.public, "OCE", 3))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, TypeAlias, final

from keywright.crypto.chains import issue_certificate, key_identifier
from keywright.crypto.ec import EcPrivateKey, EcPublicKey
from keywright.errors import PolicyError
from keywright.scp.scp11.certificates import (
    INTERMEDIATE_POLICY,
    LEAF_POLICY,
    ROOT_POLICY,
    Certificate,
    Side,
    issue_gp,
    parse_certificate,
    policy_names,
)
from keywright.scp.scp11.profile import Profile

if TYPE_CHECKING:
    from keywright.crypto.certificates import Validity

Form: TypeAlias = Literal["x509", "gp"]


@final
class Authority:
    """A key that signs certificates of one side, with its own certificate."""

    __slots__ = ("_depth", "_form", "_key", "_parsed", "_profile", "_validity", "certificate", "side")

    def __init__(
        self, key: EcPrivateKey, certificate: bytes, side: Side, validity: Validity, profile: Profile, depth: int
    ) -> None:
        """Take a key and its certificate of either format; `depth`: how many intermediates may stand below it.

        `validity`: of what it issues. Raises DecodeError.
        """
        self._key = key
        self._parsed: Certificate = parse_certificate(certificate)
        self._validity = validity
        self._profile = profile
        self._depth = depth
        self.certificate = certificate
        self.side: Side = side

    @classmethod
    def root(
        cls,
        key: EcPrivateKey,
        side: Side,
        subject: str,
        serial: int,
        validity: Validity,
        *,
        form: Form = "x509",
        profile: Profile | None = None,
    ) -> Self:
        """A self-signed root: CA-KLOC for "host", CA-KLCC for "card". `validity` is also that of all below it.

        In GlobalPlatform's format `subject` is the identifier, at most 16 characters. Raises ValueError.
        """
        profile = profile or Profile()
        if form == "gp":
            name = subject.encode()
            raw = _gp(key, name, name, key.public, serial, validity, profile, signs=True)
        else:
            below = (ROOT_POLICY[side], INTERMEDIATE_POLICY[side], LEAF_POLICY[side])
            raw = issue_certificate(
                key,
                None,
                subject=subject,
                public_key=key.public,
                serial_number=serial,
                validity=validity,
                path_length=1,
                policies=policy_names(*below),
            )
        return cls(key, raw, side, validity, profile, 1)

    @property
    def public(self) -> EcPublicKey:
        """The key that verifies what it issues."""
        return self._key.public

    @property
    def identifier(self) -> bytes:
        """CA identifier: the subject identifier of its certificate."""
        return self._parsed.subject_id or key_identifier(self._key.public)

    def intermediate(self, key: EcPrivateKey, subject: str, serial: int) -> Authority:
        """A CA below this one: KA-KLOC or KA-KLCC. Raises PolicyError when none may stand there."""
        if self._depth < 1:
            raise PolicyError("this CA may certify only keys that agree")
        policies = policy_names(INTERMEDIATE_POLICY[self.side], LEAF_POLICY[self.side])
        raw = self._certify(key.public, subject, serial, None, policies, self._depth - 1)
        return Authority(key, raw, self.side, self._validity, self._profile, self._depth - 1)

    def issue(self, public_key: EcPublicKey, subject: str, serial: int, *, authorisation: bytes | None = None) -> bytes:
        """The certificate of a key that agrees: CERT.OCE.ECKA or CERT.SD.ECKA.

        `authorisation`: inside BF20, in GlobalPlatform's format only. Raises ValueError.
        """
        if authorisation is not None and self._parsed.is_x509:
            raise ValueError("what stands for BF20 in an X.509 certificate is not known")
        return self._certify(public_key, subject, serial, authorisation, policy_names(LEAF_POLICY[self.side]), None)

    def _certify(
        self,
        public_key: EcPublicKey,
        subject: str,
        serial: int,
        authorisation: bytes | None,
        policies: tuple[str, ...],
        path_length: int | None,
    ) -> bytes:
        above = self._parsed
        if above.x509 is None:
            signs, name = path_length is not None, subject.encode()
            return _gp(
                self._key,
                above.subject_id,
                name,
                public_key,
                serial,
                self._validity,
                self._profile,
                signs=signs,
                authorisation=authorisation,
            )
        return issue_certificate(
            self._key,
            above.x509,
            subject=subject,
            public_key=public_key,
            serial_number=serial,
            validity=self._validity,
            path_length=path_length,
            policies=policies,
        )


def _gp(
    key: EcPrivateKey,
    issuer: bytes,
    subject: bytes,
    public_key: EcPublicKey,
    serial: int,
    validity: Validity,
    profile: Profile,
    *,
    signs: bool,
    authorisation: bytes | None = None,
) -> bytes:
    effective, expires = (day.strftime("%Y%m%d") for day in validity)
    return issue_gp(
        key,
        serial=serial.to_bytes(max(1, (serial.bit_length() + 7) // 8)),
        issuer=issuer,
        subject=subject,
        public_key=public_key,
        effective=effective,
        expires=expires,
        signs=signs,
        authorisation=authorisation,
        profile=profile,
    )
