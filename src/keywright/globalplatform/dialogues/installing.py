"""Whole tasks: a CAP file onto a card and off it again, and a security domain of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from keywright.errors import PolicyError, StatusError, UsageError
from keywright.globalplatform.cap.file import Cap
from keywright.globalplatform.cap.lint import CardPackage, Severity, lint
from keywright.globalplatform.confirmation import Confirmation
from keywright.globalplatform.dialogues.content import (
    NO_TOKEN,
    Installation,
    Token,
    delete_object,
    install_for_install,
    install_for_load,
    load,
    load_install_and_make_selectable,
)
from keywright.globalplatform.host import Dialogue
from keywright.globalplatform.install import InstallForLoad, InstallParameters
from keywright.globalplatform.privileges import Privilege
from keywright.globalplatform.profile import DEFAULT, CardProfile
from keywright.globalplatform.signatures import SecretKey, SigningKey
from keywright.iso7816.layers import SHORT_LC

NO_PARAMETERS: Final = InstallParameters(b"")
"""Nothing for the applet: its C9 is mandatory, and empty."""


class Wanted(msgspec.Struct, frozen=True):
    """One applet to be installed: its module, its own AID (that of the module when None), and what it is given."""

    module: bytes
    instance: bytes | None = None
    privileges: Privilege = Privilege(0)
    parameters: InstallParameters = NO_PARAMETERS
    token: Token = NO_TOKEN


class Loading(msgspec.Struct, frozen=True):
    """How a load file goes onto a card.

    domain: AID of the security domain it belongs to, empty for the one that is selected. hash: algorithm of the load
    file hash in INSTALL [for load]; None: SHA-256 where a signature, token or ciphering needs a hash (GPCS 11.5.2.3.1),
    else no hash. signers: AID and DAP key of each domain that verifies. cipher: key of a ciphered load file. parameters
    and token: of INSTALL [for load].
    """

    domain: bytes = b""
    hash: str | None = None
    signers: tuple[tuple[bytes, SigningKey], ...] = ()
    cipher: SecretKey | None = None
    icv: bytes | None = None
    parameters: bytes = b""
    token: Token = NO_TOKEN


IN_CLEAR: Final = Loading()
"""For the domain that is selected, with neither hash nor signature."""


class Installed(msgspec.Struct, frozen=True):
    """What came of it: the card's confirmation of the load and of each applet. Of a combined process: one."""

    loaded: Confirmation | None
    applets: tuple[tuple[bytes, Confirmation], ...]


def install_cap(
    cap: Cap,
    wanted: Sequence[Wanted] | None = None,
    how: Loading = IN_CLEAR,
    *,
    card: Sequence[CardPackage] | None = None,
    combined: bool = False,
    undo: bool = True,
    profile: CardProfile = DEFAULT,
    size: int = SHORT_LC,
) -> Dialogue[Installed]:
    """Load a CAP file and install its applets, made selectable: all of them under their own names unless told.

    card: packages that it has, to check imports before anything is sent. combined: one process that happens as a whole
    or not at all, for a single applet; its token is that of the applet. undo: when an applet is refused, delete the
    load file and the applets installed before it. Raises PolicyError for what the check finds, UsageError for a module
    that the file does not have, StatusError when the card refuses.
    """
    chosen = tuple(Wanted(aid) for aid in cap.applet_aids) if wanted is None else tuple(wanted)
    _demand_sound(cap, chosen, card)
    announced = _announced(cap, how)
    file = cap.load_file(signers=how.signers, algorithm=how.hash or "sha256", cipher=how.cipher, icv=how.icv)
    if combined:
        (only,) = _one(chosen)
        confirmed = yield from load_install_and_make_selectable(
            announced, file, _installation(cap, only), p1=profile.combined_p1, token=only.token, size=size
        )
        return Installed(None, ((_instance(only), confirmed),))
    yield from install_for_load(announced, token=how.token, size=size)
    loaded = yield from load(file, size=size)
    done = []
    try:
        for one in chosen:
            what = _installation(cap, one)
            done.append((what.instance, (yield from install_for_install(what, token=one.token, size=size))))
    except StatusError as error:
        if undo:
            yield from _undone(cap, error)
        raise
    return Installed(loaded, tuple(done))


def _undone(cap: Cap, refused: StatusError) -> Dialogue[None]:
    """Delete what was loaded; where the card refuses that as well, say so beside what it refused first."""
    try:
        yield from delete_object(cap.package.aid, related=True)
    except StatusError as error:
        refused.hint = f"the load file is still on the card, which refused to delete it: {error}"


def uninstall_cap(cap: Cap, *, token: Token = NO_TOKEN, size: int = SHORT_LC) -> Dialogue[Confirmation]:
    """Delete a CAP file's load file and every applet that was installed from it."""
    return (yield from delete_object(cap.package.aid, related=True, token=token, size=size))


def create_domain(
    instance: bytes,
    privileges: Privilege = Privilege.SECURITY_DOMAIN,
    *,
    parameters: InstallParameters = NO_PARAMETERS,
    token: Token = NO_TOKEN,
    profile: CardProfile = DEFAULT,
    size: int = SHORT_LC,
) -> Dialogue[Confirmation]:
    """Install a supplementary security domain and make it selectable; it has no keys until some are put into it."""
    what = Installation(
        profile.domain_load_file,
        profile.domain_module,
        instance,
        privileges | Privilege.SECURITY_DOMAIN,
        parameters.build() or b"\xc9\x00",
    )
    return (yield from install_for_install(what, token=token, size=size))


def _demand_sound(cap: Cap, wanted: Sequence[Wanted], card: Sequence[CardPackage] | None) -> None:
    faults = [finding for finding in lint(cap, card) if finding.severity is Severity.ERROR]
    if faults:
        raise PolicyError(f"this CAP file would be refused: {'; '.join(finding.text for finding in faults)}")
    for one in wanted:
        if one.module not in cap.applet_aids:
            raise UsageError(f"the CAP file has no applet {one.module.hex().upper()}")


def _announced(cap: Cap, how: Loading) -> InstallForLoad:
    needed = how.signers or how.token or how.cipher
    algorithm = how.hash or ("sha256" if needed else None)
    digest = b"" if algorithm is None else cap.hash(algorithm)
    return InstallForLoad(cap.package.aid, how.domain, digest, how.parameters)


def _one(wanted: tuple[Wanted, ...]) -> tuple[Wanted]:
    if len(wanted) != 1:
        raise UsageError(f"a combined process installs one applet, not {len(wanted)}")
    return (wanted[0],)


def _instance(one: Wanted) -> bytes:
    return one.module if one.instance is None else one.instance


def _installation(cap: Cap, one: Wanted) -> Installation:
    parameters = one.parameters
    if parameters.application is None:
        parameters = msgspec.structs.replace(parameters, application=b"")
    return Installation(cap.package.aid, one.module, _instance(one), one.privileges, parameters.build())
