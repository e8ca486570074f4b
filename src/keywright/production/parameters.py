"""What each step of a recipe may be told: one class per step, read by the recipe loader and by the step.

A class is the whole description: its fields are the keys of the `[[step]]` table, their types and defaults what is
accepted, `requires` the steps that must come before it, `check` what no type can say.
"""

from __future__ import annotations

import binascii
import re
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from keywright.crypto.diversification import OF_ANY_LENGTH, SCHEMES, card_context, key_sizes
from keywright.errors import KeywrightError, PolicyError
from keywright.globalplatform.profile import PROFILES, CardProfile
from keywright.production.control.declaration import Declaration, Patience
from keywright.production.keystores.key_paths import SessionKeys
from keywright.production.keystores.key_refs import Diversified

U8 = Annotated[int, Meta(ge=0, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
OwnKvn = Annotated[int, Meta(ge=0x01, le=0x7F)]
"""Key version number that may be given to a new set (GPCS 11.8.2.1)."""
FactoryKvn = Annotated[int, Meta(ge=0x00, le=0xFF)]
"""Key version number to open with; 00 is the card's default set, FF the initial one."""
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Aid = Annotated[str, Meta(pattern=r"^(?:[0-9A-Fa-f]{2}){5,16}$")]
"""Application identifier as hex text, 5 to 16 bytes (ISO/IEC 7816-5)."""
TimeoutS = Annotated[float, Meta(ge=1.0, le=3600.0)]
Retries = Annotated[int, Meta(ge=0, le=10)]
BackoffS = Annotated[float, Meta(ge=0.0, le=60.0)]
ConfigurationKey = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=32)]

CONFIGURATION_BYTES: Final = 2048
"""Room for the configuration on a unit as it is written there (JSON, values in hex)."""
_HEX: Final = "hex:"


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every step has: the steps that must stand before it in the recipe, and the devices it is for.

    The keys here may stand in every `[[step]]`; where they do not, the step's own declaration counts.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    devices: ClassVar[tuple[str, ...]] = ("fob", "card")

    timeout_s: TimeoutS | None = None
    """Seconds that a unit may take for the step while its answer is waited for."""
    retries: Retries | None = None
    """How often a unit is reset and probed in one run after a transient failure, before it is left for the next run."""
    backoff_s: BackoffS | None = None
    """Rest before the first retry in seconds; doubled before each further one, at most 60."""

    def patience(self, declared: Declaration) -> Patience:
        """How patient the line is: what the recipe says, or else what the step declares."""
        return Patience(
            declared.timeout_s if self.timeout_s is None else self.timeout_s,
            declared.retries if self.retries is None else self.retries,
            declared.backoff_s if self.backoff_s is None else self.backoff_s,
        )

    def check(self) -> None:
        """Raise ValueError, naming the key first, for values that do not fit together."""


OF_ALL: Final = Parameters.__struct_fields__
"""Keys that every step may have."""


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Expected fields of the card production life cycle data (GPCS H.6); what is not given is not compared."""

    ic_fabricator: U16 | None = None
    ic_type: U16 | None = None
    os_id: U16 | None = None


class Identify(Parameters, frozen=True, kw_only=True):
    """Is this the expected product, and one that has not been through the line?"""

    product: Product = Product()
    i: tuple[U8, ...] = ()
    """SCP03 "i" parameters that are expected; empty accepts any."""
    fresh: bool = True
    """Refuse a unit whose key information lists other sets than the one `authenticate` opens it with."""


class Authenticate(Parameters, frozen=True, kw_only=True):
    """Open SCP03 with the keys the unit came with."""

    requires: ClassVar[tuple[str, ...]] = ("identify",)

    keys: Name
    """Factory key set in the keystore."""
    kvn: FactoryKvn = 0xFF
    level: Literal[0x01, 0x03, 0x11, 0x13, 0x33] = 0x33
    """Security level, P1 of EXTERNAL AUTHENTICATE (Amd D 7.1.2.1)."""
    session_keys: SessionKeys = "inside"
    """How far session keys may go from an HSM: inside, encrypt or export. A software keystore has them in memory."""
    card: Literal["default", "yubikey", "wallet", "gp211"] = "default"
    """Kind of card, a name in `globalplatform.profile`: how it wants its keys and its empty commands."""

    @property
    def profile(self) -> CardProfile:
        """The profile of that kind of card."""
        return PROFILES[self.card]


class OwnKeys(Parameters, frozen=True, kw_only=True):
    """Replace the factory keys by ones derived for this unit from a master in the keystore."""

    requires: ClassVar[tuple[str, ...]] = ("authenticate",)

    master: Name
    scheme: Annotated[str, Meta(max_length=200)] = "sp800-108"
    """A scheme of `crypto.diversification`, or a template of `crypto.templates` such as "$4 $5 $6 $7 $8 $9 F0 $k …"."""
    kvn: OwnKvn = 0x30
    key_bytes: Literal[16, 24, 32] = 16
    remove_factory: bool = True
    """Delete the factory set after the proof if the card has not dropped it by itself."""

    def context(self, kdd: bytes, serial: str, lot: str) -> bytes:
        """What a unit's keys are derived from: the KDD, for our own schemes also serial, lot and key version.

        Raises PolicyError for a derivation from a KDD of zeros alone: every such card would get the same keys.
        """
        if self.scheme in OF_ANY_LENGTH:
            return card_context(kdd + serial.encode(), lot.encode(), self.kvn)
        if not any(kdd):
            raise PolicyError(
                f"the unit's key diversification data are zeros; {self.scheme} would give all such units the same keys",
                hint='use scheme = "sp800-108" or "ecb", which also take the serial and the lot',
            )
        return kdd

    def ref(self, context: bytes) -> Diversified:
        """The name of a unit's keys in the keystore."""
        return Diversified(self.master, self.scheme, context, self.key_bytes)

    def check(self) -> None:
        """Raise ValueError for a scheme that is none, or that makes no keys of this size, such as emv (EMV CPS 4.1)."""
        try:
            sizes = key_sizes(self.scheme)
        except KeywrightError as error:
            raise ValueError(f"scheme: {error}; {error.hint}") from error
        if self.key_bytes not in sizes:
            shown = self.scheme if self.scheme in SCHEMES else "template's"
            made = " or ".join(map(str, sizes))
            raise ValueError(f"key_bytes: the {shown} scheme derives {made}-byte keys")


class Personalise(Parameters, frozen=True, kw_only=True):
    """Key pair on the unit, device certificate, owner group and configuration."""

    requires: ClassVar[tuple[str, ...]] = ("own_keys",)
    devices: ClassVar[tuple[str, ...]] = ("fob",)

    applet: Aid
    ca: Name
    validity_days: Annotated[int, Meta(ge=1, le=7300)] = 3650
    configuration: dict[ConfigurationKey, str] = {}
    """Kept on the unit as given; a value that starts with `hex:` is bytes."""

    @property
    def aid(self) -> bytes:
        """The applet's AID as bytes."""
        return bytes.fromhex(self.applet)

    def configuration_items(self) -> tuple[tuple[str, bytes], ...]:
        """Configuration in the order of the recipe, values as the bytes to be stored."""
        return tuple((key, _value(value)) for key, value in self.configuration.items())

    def check(self) -> None:
        """Raise ValueError for a `hex:` value that is not hex, or for more than a unit takes."""
        for key, value in self.configuration.items():
            try:
                _value(value)
            except ValueError:
                raise ValueError(f"configuration.{key}: after hex: come pairs of hexadecimal digits") from None
        size = sum(len(key) + 2 * len(value) + 6 for key, value in self.configuration_items())
        if size > CONFIGURATION_BYTES:
            raise ValueError(f"configuration: takes {size} bytes on the unit; at most {CONFIGURATION_BYTES} fit")


AliroCapability = Literal["secure", "unsecure", "toggle", "momentary-unsecure", "extended-momentary-unsecure"]
HexKey = Annotated[str, Meta(pattern=r"^04(?:[0-9A-Fa-f]{2}){64}$")]
"""Public key on P-256 as hex text: 04 || X || Y."""
ReaderGroup = Annotated[str, Meta(pattern=r"^(?:[0-9A-Fa-f]{2}){16}$")]


class Aliro(Parameters, frozen=True, kw_only=True):
    """Install the Aliro applet, make its key pair on the unit, and give it a credential for a reader group."""

    requires: ClassVar[tuple[str, ...]] = ("own_keys",)
    devices: ClassVar[tuple[str, ...]] = ("fob",)

    reader_group: ReaderGroup
    """reader_group_identifier."""
    reader_key: HexKey
    """Public key of the reader, or of the Reader System Issuer where readers have certificates."""
    issuer: Annotated[str, Meta(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=64)] = "access-issuer"
    """Credential Issuer in the keystore, which signs the Access Document; empty: the unit gets none."""
    element: Annotated[str, Meta(min_length=1, max_length=32)] = "door"
    """Identifier of the element of the Access Document."""
    capabilities: tuple[AliroCapability, ...] = ("unsecure", "secure")
    """What it allows."""
    validity_days: Annotated[int, Meta(ge=1, le=7300)] = 365
    mailbox_bytes: Annotated[int, Meta(ge=0, le=2048)] = 0
    load: bool = True
    """Whether the load file is put on the unit too; `false`: its maker has done so."""

    def check(self) -> None:
        """Raise ValueError for a key that is no point of the curve."""
        from keywright.crypto.ec import EcPublicKey  # noqa: PLC0415 - other recipes do not need it

        try:
            EcPublicKey.from_point("P-256", bytes.fromhex(self.reader_key))
        except KeywrightError as error:
            raise ValueError(f"reader_key: {error}") from error


class LockDown(Parameters, frozen=True, kw_only=True):
    """Set the card's life cycle state and verify everything public in a last fresh session."""

    requires: ClassVar[tuple[str, ...]] = ("own_keys",)

    state: Literal["INITIALIZED", "SECURED"] = "SECURED"


class MeshProvision(Parameters, frozen=True, kw_only=True):
    """Make the unit a node of the lot's Bluetooth Mesh network."""

    devices: ClassVar[tuple[str, ...]] = ("fob", "mesh")

    authentication: tuple[Literal["certificate", "key", "static", "none"], ...] = ("key", "static")
    """How a device may prove itself; the order says which of these it is for each. `none` has to be said."""
    trust: Annotated[str, Meta(max_length=65536)] = ""
    """Root certificates for `certificate`, PEM."""
    certificate_alone: bool = False
    """Whether a certificate is enough without an OOB value. It proves the device, and nothing to the device."""
    certificate_servers: tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...] = ()
    """Servers that may be asked for certificates, by name: a device says where its own are."""
    certificate_server_ca: Annotated[str, Meta(max_length=65536)] = ""
    """Who vouches for these servers (TLS), PEM; without it, whoever this machine trusts."""
    algorithm: Literal["best", "cmac", "hmac"] = "best"
    elements: Annotated[int, Meta(ge=1, le=255)] = 1
    """Most elements of a device: so many addresses are kept for each."""
    net_index: Annotated[int, Meta(ge=0, le=0xFFF)] = 0
    company: U16 | None = None
    """Company identifier that the composition data have to say; not compared without it."""
    product: U16 | None = None
    """Product identifier, likewise."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The root certificates, DER. Raises ValueError for a block that is none."""
        return _certificates(self.trust)

    def check(self) -> None:
        """Raise ValueError for certificates without a usable root."""
        from keywright.mesh.cbp import CertificatePolicy  # noqa: PLC0415 - loads X.509

        if not self.authentication:
            raise ValueError("authentication: name one way at least")
        if "certificate" not in self.authentication:
            if self.certificate_servers or self.certificate_server_ca:
                raise ValueError("certificate_servers: no device of this recipe proves itself by certificate")
            return
        if self.certificate_server_ca and not _certificates(self.certificate_server_ca):
            raise ValueError("certificate_server_ca: there is no certificate in it")
        try:
            CertificatePolicy(roots=self.roots)
        except (KeywrightError, ValueError) as error:
            raise ValueError(f"trust: {error}") from error


def _certificates(text: str) -> tuple[bytes, ...]:
    blocks = _PEM.findall(text)
    return tuple(binascii.a2b_base64("".join(block.split()), strict_mode=True) for block in blocks)


_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_GROUP: Final = "keywright.steps"
"""Entry points of others: each names a module with `PARAMETERS`, a class as those above, and `run`."""


def step_of_others(name: str) -> Any:
    """The module of a step that another package provides; None when nobody does."""
    for found in entry_points(group=_GROUP, name=name):
        return found.load()
    return None


MESH: Final = "mesh.provision"
STEPS: Final[dict[str, type[Parameters]]] = {
    "identify": Identify,
    "authenticate": Authenticate,
    "own_keys": OwnKeys,
    "personalise": Personalise,
    "aliro": Aliro,
    "lock_down": LockDown,
    MESH: MeshProvision,
}
"""Steps by name, in the order in which a recipe may list them."""


def _value(text: str) -> bytes:
    return bytes.fromhex(text[len(_HEX) :]) if text.startswith(_HEX) else text.encode()
