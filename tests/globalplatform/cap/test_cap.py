"""CAP files: read, checked, signed and made, from foreign bytes and from our own."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.codec.message import Message
from keywright.crypto.aes import AesKey
from keywright.errors import DecodeError
from keywright.globalplatform.cap import components
from keywright.globalplatform.cap.archive import MOST_BYTES, MOST_FILES, build_archive, component_files
from keywright.globalplatform.cap.build import FRAMEWORK, JAVA_LANG, build_cap, make_cap, pack
from keywright.globalplatform.cap.components import (
    MAGIC,
    Component,
    ComponentTag,
    ExtendedAppletComponent,
    ExtendedAppletInfo,
    ExtendedHeader,
    Flag,
    PackageInfo,
    parse_component,
    parse_directory,
)
from keywright.globalplatform.cap.file import Cap, of_components, parse_cap, parse_stream
from keywright.globalplatform.cap.lint import CardPackage, Finding, Severity, lint, package_name
from keywright.globalplatform.dap import decipher_load_block, verify_dap
from keywright.globalplatform.load_file import parse_load_file
from keywright.iso7816.apdu import Command
from support.messages import all_messages, check_message, parsed
from support.vectors import load, unhex

PACKAGE = bytes.fromhex("F06B770001")
APPLET = bytes.fromhex("F06B77000101")
ISD = bytes.fromhex("A000000151000000")
CAP = make_cap(PACKAGE, [APPLET])


@pytest.mark.parametrize("cls", all_messages(components))
def test_every_message_keeps_the_promises_of_a_codec(cls: type[Message]) -> None:
    check_message(cls)


# ---- a CAP file of a foreign converter, as a foreign host loaded it ---------------------------------------------


def foreign() -> bytes:
    """The load file data block that GlobalPlatformPro sent."""
    case = next(case for case in load("scp/client_traces.json") if case["name"] == "gp_install_mac")
    command = next(
        command
        for command in (Command.parse(unhex(exchange["capdu"])) for exchange in case["exchanges"])
        if command.ins == 0xE8
    )
    return parse_load_file(command.data[:-8]).block


def test_a_foreign_load_file_is_read() -> None:
    cap = parse_cap(foreign())
    assert cap.package.aid.hex() == "0102030405"
    assert (cap.package.version, cap.format) == ((0, 0), (2, 1))
    assert [package_name(one.aid) for one in cap.imports] == [
        "javacard.framework (A0000000620101)",
        "javacard.security (A0000000620102)",
        "java.lang (A0000000620001)",
    ]
    assert [aid.hex() for aid in cap.applet_aids] == ["0102030405060708"]
    assert cap.directory is not None
    assert len(cap.directory.sizes) == 11
    assert not cap.is_extended


def test_a_foreign_load_file_is_made_again_byte_for_byte() -> None:
    cap = parse_cap(foreign())
    assert cap.load_block() == foreign()
    assert parse_cap(pack(cap)).load_block() == foreign(), "also through an archive"


def test_nothing_is_wrong_with_a_foreign_load_file_that_left_its_descriptor_out() -> None:
    assert lint(parse_cap(foreign())) == ()


# ---- our own ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [(2, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("applets", [[], [APPLET], [APPLET, PACKAGE + b"\x02"]])
def test_what_is_built_is_read_again_and_has_no_faults(form: tuple[int, int], applets: list[bytes]) -> None:
    data = build_cap(PACKAGE, applets, version=(3, 7), form=form)
    cap = parse_cap(data)
    assert cap == make_cap(PACKAGE, applets, version=(3, 7), form=form)
    assert (cap.package.aid, cap.package.version, cap.format) == (PACKAGE, (3, 7), form)
    assert cap.applet_aids == tuple(applets)
    assert cap.imports == (FRAMEWORK, JAVA_LANG)
    assert lint(cap) == ()
    assert data == build_cap(PACKAGE, applets, version=(3, 7), form=form), "the same archive each time"


def test_the_load_block_has_the_order_of_the_specification_and_no_descriptor() -> None:
    tags = [one.tag for one in parse_stream(CAP.load_block())]
    assert tags == [1, 2, 4, 3, 6, 7, 8, 5, 9]
    assert [one.tag for one in parse_stream(CAP.load_block(descriptor=True))] == [*tags, 11]
    assert parse_cap(CAP.load_block(descriptor=True)) == CAP, "the IJC form"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_the_hash_is_over_the_load_block(algorithm: str) -> None:
    assert CAP.hash(algorithm) == hashlib.new(algorithm, CAP.load_block()).digest()


def test_a_load_file_is_signed_for_several_domains_and_ciphered() -> None:
    one, two, cipher = AesKey(bytes(16)), AesKey(bytes(range(16))), AesKey(b"\x07" * 16)
    plain = CAP.load_file(signers=[(ISD, one), (PACKAGE, two)])
    assert [dap.security_domain for dap in plain.daps] == [ISD, PACKAGE]
    for key, dap in zip((one, two), plain.daps, strict=True):
        verify_dap(key, CAP.hash(), dap)
    ciphered = CAP.load_file(signers=[(ISD, one)], cipher=cipher, icv=b"\x09" * 16)
    assert ciphered.daps == plain.daps[:1], "a DAP signs the plain block"
    again = parse_load_file(ciphered.build())
    assert decipher_load_block(cipher, again.block, again.icv) == CAP.load_block()
    with pytest.raises(ValueError, match="weaker"):
        CAP.load_file(signers=[(ISD, AesKey(bytes(32)))])


def test_names_may_be_written_in_any_case_and_folder_and_other_files_are_left() -> None:
    files = {f"deep/er/javacard/{one.name.upper()}.CAP": one.build() for one in CAP.components}
    assert parse_cap(build_archive({"META-INF/MANIFEST.MF": b"x", "APPLET-INF/applet.xml": b"y", **files})) == CAP


# ---- the extended format ----------------------------------------------------------------------------------------


def extended() -> Cap:
    header = ExtendedHeader(
        MAGIC, 3, 2, Flag.APPLET | Flag.EXTENDED, PackageInfo(0, 1, PACKAGE), (PackageInfo(0, 1, PACKAGE + b"\1"),)
    )
    applet = ExtendedAppletComponent((ExtendedAppletInfo(APPLET, 0, 1),))
    rest = [one for one in CAP.components if one.tag not in (1, 2, 3, 7)]
    return of_components(
        [
            Component(1, header.build()),
            Component(2, bytes(40)),
            Component(3, applet.build()),
            Component(7, bytes(70_000), 4),
            *rest,
        ]
    )


def test_the_extended_format_is_read_from_archive_and_stream() -> None:
    cap = extended()
    assert cap.is_extended
    assert (cap.package.aid, cap.applet_aids) == (PACKAGE, (APPLET,))
    assert parse_cap(pack(cap)) == cap
    stream = cap.load_block(descriptor=True)
    assert len(stream) > 70_000
    assert parse_cap(stream) == cap
    assert {finding.rule for finding in lint(cap)} == {"extended-format"}


# ---- what is no CAP file ----------------------------------------------------------------------------------------


HEADER = Component(1, CAP.components[0].info).build()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        b"\x01\x00",
        build_archive({}),
        build_archive({"a/Directory.cap": b"\x02\x00\x00"}),
        build_archive({"a/Header.cap": HEADER[:-1]}),
        build_archive({"a/Header.cap": b"\x02" + HEADER[1:]}),
        build_archive({"a/Header.cap": HEADER, "b/Header.cap": HEADER}),
        build_archive({"a/Header.cap": HEADER.replace(b"\xde\xca", b"\xde\xcb")}),
        build_archive({"a/Header.cap": HEADER, "a/Import.cap": b"\x04\x00\x01\x05"}),
        build_archive({"a/Header.cap": HEADER, "a/Directory.cap": b"\x02\x00\x02\x00\x00"}),
        build_archive({"a/Header.cap": HEADER, "a/Other.cap": HEADER}),
    ],
)
def test_what_is_no_cap_file_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_cap(data)


def test_an_archive_that_unpacks_without_measure_or_by_another_method_is_refused() -> None:
    with pytest.raises(DecodeError, match="unpacks to"):
        component_files(build_archive({"a/Header.cap": bytes(MOST_BYTES + 1)}))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr(zipfile.ZipInfo("a/Header.cap"), HEADER, zipfile.ZIP_BZIP2)
    with pytest.raises(DecodeError, match="method 12"):
        component_files(out.getvalue())


def test_an_archive_of_very_many_files_is_refused() -> None:
    files = {f"{number}": b"" for number in range(MOST_FILES - len(CAP.components))}
    whole = {f"a/{one.name}.cap": one.build() for one in CAP.components}
    assert parse_cap(build_archive(whole | files)) == CAP
    with pytest.raises(DecodeError, match="is no CAP file"):
        parse_cap(build_archive(whole | files | {"one more": b""}))


def test_a_vendors_component_keeps_its_place_and_is_not_loaded() -> None:
    files = {f"a/{one.name}.cap": one.build() for one in CAP.components}
    cap = parse_cap(build_archive(files | {"a/Vendor.cap": b"\x80\x00\x01\xff"}))
    assert cap.component(0x80) == Component(0x80, b"\xff")
    assert cap.load_block(descriptor=True) == CAP.load_block(descriptor=True)


def test_every_prefix_of_a_cap_file_is_refused() -> None:
    for data in (CAP.load_block(), build_cap(PACKAGE, [APPLET])):
        for size in range(len(data)):
            found = parsed(parse_cap, data[:size])
            assert found is None or found.load_block(descriptor=True) == data[:size]


PACKED = build_cap(PACKAGE, [APPLET])


@given(st.integers(0, len(PACKED) * 8 - 1))
def test_an_archive_with_a_flipped_bit_is_read_or_refused(bit: int) -> None:
    data = bytearray(PACKED)
    data[bit // 8] ^= 0x80 >> bit % 8
    parsed(parse_cap, bytes(data))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_cap_file_or_refused(data: bytes) -> None:
    for head in (b"", b"PK\x03\x04", HEADER):
        found = parsed(parse_cap, head + data)
        assert found is None or parse_cap(found.load_block(descriptor=True)).package == found.package


@given(st.binary(max_size=20))
def test_any_bytes_are_a_component_or_refused(data: bytes) -> None:
    found = parsed(parse_component, data)
    assert found is None or found.build() == data


def test_a_directory_that_fits_no_format_is_refused() -> None:
    for size in (0, 10, 28, 36):
        with pytest.raises(DecodeError):
            parse_directory(bytes(size), (2, 2))
    assert len(parse_directory(bytes(31), (2, 2)).sizes) == 11, "converters that kept the older form"


# ---- lint -------------------------------------------------------------------------------------------------------


def without(tag: int) -> Cap:
    return of_components([one for one in CAP.components if one.tag != tag])


def changed(tag: int, info: bytes) -> Cap:
    return of_components([Component(tag, info), *(one for one in CAP.components if one.tag != tag)])


def rules(cap: Cap, card: list[CardPackage] | None = None) -> set[str]:
    return {finding.rule for finding in lint(cap, card)}


@pytest.mark.parametrize("tag", [2, 4, 5, 6, 7, 8, 9])
def test_a_mandatory_component_that_is_missing_is_found(tag: int) -> None:
    assert Finding(Severity.ERROR, "component-missing", CAP.component(tag).name, "this component is mandatory") in lint(  # type: ignore[union-attr]  # every component of CAP is there
        without(tag)
    )


def test_a_size_that_the_directory_does_not_have_is_found() -> None:
    assert rules(changed(ComponentTag.METHOD, b"\0\0")) == {"directory-size"}
    assert rules(without(ComponentTag.DESCRIPTOR)) == set(), "left out when loading, so it may be missing"


def test_counts_and_flags_that_do_not_agree_are_found() -> None:
    assert rules(without(ComponentTag.APPLET)) == {"flag", "directory-size", "directory-count", "no-applet"}
    assert rules(changed(ComponentTag.EXPORT, b"\0")) == {"flag", "directory-size"}
    assert rules(changed(ComponentTag.DEBUG, b"\0")) == {"debug", "directory-size"}
    assert rules(changed(0x80, b"\0")) == {"custom-component"}


@pytest.mark.parametrize(
    ("cap", "rule"),
    [
        (make_cap(PACKAGE, [bytes.fromhex("A00000000101")]), "applet-rid"),
        (make_cap(PACKAGE, [APPLET, APPLET]), "twice"),
        (make_cap(PACKAGE, [APPLET], [FRAMEWORK, FRAMEWORK]), "twice"),
        (make_cap(b"\x01\x02\x03\x04", [b"\x01\x02\x03\x04"]), "aid-length"),
    ],
)
def test_names_that_a_card_would_refuse_are_found(cap: Cap, rule: str) -> None:
    assert rules(cap) == {rule}


def test_a_format_version_that_nobody_knows_is_found() -> None:
    header = bytearray(CAP.components[0].info)
    header[4:6] = b"\x09\x02"
    assert "format-version" in rules(changed(ComponentTag.HEADER, bytes(header)))


OTHER = PackageInfo(2, 1, bytes.fromhex("F06B770002"))
IMPORTING = make_cap(PACKAGE, [APPLET], [FRAMEWORK, OTHER])


@pytest.mark.parametrize(
    ("card", "rule"),
    [
        ([], "import-missing"),
        ([CardPackage(OTHER.aid, (1, 1))], "import-version"),
        ([CardPackage(OTHER.aid, (2, 2))], "import-version"),
        ([CardPackage(OTHER.aid)], "import-version-untold"),
        ([CardPackage(OTHER.aid, (1, 2))], None),
        ([CardPackage(OTHER.aid, (1, 9))], None),
        ([CardPackage(OTHER.aid, (1, 2)), CardPackage(PACKAGE, (1, 0))], "loaded"),
    ],
)
def test_imports_are_compared_with_what_the_card_has(card: list[CardPackage], rule: str | None) -> None:
    assert rules(IMPORTING, card) == {"import-untold", *([rule] if rule else [])}


def test_packages_of_the_platform_are_compared_where_the_card_lists_them() -> None:
    card = [CardPackage(FRAMEWORK.aid, (1, 6)), CardPackage(OTHER.aid, (1, 2))]
    assert rules(IMPORTING, card) == set()
    (finding,) = lint(IMPORTING, [CardPackage(FRAMEWORK.aid, (1, 2)), CardPackage(OTHER.aid, (1, 2))])
    assert finding.rule == "import-version"
    assert finding.text == "javacard.framework (A0000000620101): version 1.3 is needed, the card has 1.2"


def test_versions_come_as_get_status_lists_them() -> None:
    assert CardPackage.listed(PACKAGE, b"\x01\x07") == CardPackage(PACKAGE, (1, 7))
    assert CardPackage.listed(PACKAGE, None) == CardPackage.listed(PACKAGE, b"\x01") == CardPackage(PACKAGE)
