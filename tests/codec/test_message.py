from __future__ import annotations

import copy
import pickle
import sys
import threading
import types
from typing import Annotated, Any, ClassVar, assert_type

import pytest

from keywright.codec import U8, LittleRecord, Others, Record, Rest, Template, counted, prefixed, raw, tag
from keywright.codec.message import Compiled, Message, compiled
from keywright.errors import DecodeError
from support.messages import all_messages


class Inner(Template, frozen=True):
    number: Annotated[int, tag(0x80)]
    compilations: ClassVar[list[str]] = []

    @classmethod
    def _compile(cls) -> Compiled:
        cls.compilations.append(cls.__name__)
        return super()._compile()


class Outer(Template, frozen=True):
    inner: Annotated[tuple[Inner, ...], tag(0xA0)] = ()
    late: Annotated[Late | None, tag(0xA1)] = None


class Late(Record, frozen=True):
    kvn: U8


def test_nested_classes_are_bound_late_and_compiled_once() -> None:
    value = Outer((Inner(1), Inner(2)), Late(3))
    for _ in range(3):
        assert Outer.parse(value.build()) == value
        assert Inner.parse(Inner(5).build()) == Inner(5)
    assert Inner.compilations == ["Inner"]


def test_the_types_that_users_see_are_those_of_the_class_body() -> None:
    late = Late.parse(b"\x01")
    assert_type(late, Late)
    assert_type(late.kvn, int)
    assert_type(late.build(), bytes)
    assert_type(Outer().late, Late | None)
    assert_type(Outer().inner, tuple[Inner, ...])


def test_values_are_frozen_and_compare_hash_copy_and_pickle_by_content() -> None:
    late = Late(1)
    late.build()
    with pytest.raises(AttributeError):
        late.kvn = 2  # type: ignore[misc]  # the error under test  # pyright: ignore[reportAttributeAccessIssue] - as said
    assert late == Late(1) != Late(2)
    assert {late: 1}[Late(1)] == 1
    assert copy.copy(late) == pickle.loads(pickle.dumps(late)) == late


def test_many_threads_may_be_the_first_to_use_a_class() -> None:
    class_of_threads = Contended
    results: list[object] = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        results.append(class_of_threads.parse(b"\xa0\x03\x80\x01\x07"))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [Contended(Inner(7))] * 8


class Contended(Template, frozen=True):
    inner: Annotated[Inner, tag(0xA0)]


def test_a_message_does_not_inherit_from_a_message() -> None:
    with pytest.raises(TypeError, match="does not inherit from a message"):

        class Child(Late, frozen=True):  # pyright: ignore[reportUnusedClass]  # the error under test
            more: U8


@pytest.mark.parametrize("name", ["parse", "build"])
def test_parse_and_build_belong_to_the_codec(name: str) -> None:
    with pytest.raises(TypeError, match="belong to the codec"):
        _class(Record, {name: lambda: None})


def test_a_class_that_contains_itself_is_refused_before_any_input_nests_it() -> None:
    with pytest.raises(TypeError, match="contains itself"):
        Endless.parse(b"")
    with pytest.raises(TypeError, match="contains itself"):
        Ping.parse(b"")


class Endless(Template, frozen=True):
    children: Annotated[tuple[Endless, ...], tag(0xA0)] = ()


class Ping(Template, frozen=True):
    pong: Annotated[Pong | None, tag(0xA0)] = None


class Pong(Record, frozen=True):
    ping: Annotated[Ping, prefixed(1)]


def test_only_records_and_templates_have_bytes() -> None:
    class Bare(Message, frozen=True):
        pass

    with pytest.raises(TypeError, match="neither a Record nor a Template"):
        Bare.parse(b"")


def _class(base: type[Message], body: dict[str, Any] | None = None, **fields: Any) -> type[Any]:
    """A message class with these annotations; a list gives an annotation and a default."""
    pairs = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    annotations = {name: value[0] for name, value in pairs.items()}
    defaults = {name: value[1] for name, value in pairs.items() if len(value) > 1}
    content = {"__annotations__": annotations, "__module__": __name__, **defaults, **(body or {})}
    return types.new_class("Made", (base,), {"frozen": True}, lambda space: space.update(content))


@pytest.mark.parametrize("base", [Record, LittleRecord])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": bytes}, "Made.a: .* says not how"),
        ({"a": int}, "Made.a: .* says not how"),
        ({"a": Annotated[int, raw(1)]}, "Made.a: .* says not how"),
        ({"a": Annotated[bytes, tag(0x80)]}, "Made.a: .* says not how"),
        ({"a": str}, "Made.a: .* says not how"),
        ({"a": Annotated[bytes, raw(0)]}, "raw\\(0\\)"),
        ({"a": Annotated[bytes, Rest(-1)]}, "Rest"),
        ({"a": Annotated[bytes, prefixed(5)]}, "5 is no form of a length"),  # type: ignore[arg-type]  # the error under test
        ({"a": U8 | None}, "Made.a: a record has no absent fields"),
        ({"a": Annotated[bytes, Rest()], "b": U8}, "only the last field can take the rest"),
        ({"a": tuple[U8, ...], "b": U8}, "only the last field can take the rest"),
        ({"a": tuple[U8, U8]}, "tuple\\[X, ...\\]"),
        ({"a": tuple[U8 | None, ...]}, "may be None"),
        ({"a": tuple[Annotated[bytes, Rest()], ...]}, "cannot be told apart"),
        ({"a": Annotated[tuple[Inner, ...], counted(1)]}, "cannot be told apart"),
        ({"a": Annotated[tuple[U8, ...], raw(3)]}, "a tuple with markers"),
    ],
)
def test_a_record_that_cannot_work_is_a_type_error_at_first_use(
    base: type[Message], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        _class(base, **fields).parse(b"")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"a": bytes}, "Made.a: one tag"),
        ({"a": Annotated[bytes, tag(0x80), tag(0x81)]}, "Made.a: one tag"),
        ({"a": Annotated[bytes, tag(0x1F)]}, "Made.a: 0x1f is no tag"),
        ({"a": Annotated[bytes, tag(0x80)], "b": Annotated[bytes, tag(0x80)]}, "two fields for one tag"),
        ({"a": Annotated[bytes, tag(0x80, size=2)]}, "size is for plain integers"),
        ({"a": Annotated[int, tag(0x80, size=9)]}, "an integer of 9 bytes"),
        ({"a": Annotated[int, tag(0x80, size=0)]}, "an integer of 0 bytes"),
        ({"a": Annotated[str, tag(0x80)]}, "says not how"),
        ({"a": Annotated[tuple[bool, ...], tag(0x80)]}, "neither bool nor None"),
        ({"a": Annotated[tuple[bytes, bytes], tag(0x80)]}, "neither bool nor None"),
        ({"a": [Annotated[bool, tag(0x80)], True]}, "default can only be False"),
        ({"a": [Annotated[bytes | None, tag(0x80)], b"x"]}, "default can only be None"),
        ({"a": [Annotated[tuple[bytes, ...], tag(0x80)], (b"x",)]}, "default can only be \\(\\)"),
        ({"a": Annotated[tuple[tuple[int, bytes], ...], Others()], "strict": [ClassVar[bool], True]}, "strict refuses"),
    ],
)
def test_a_template_that_cannot_work_is_a_type_error_at_first_use(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        _class(Template, **fields).parse(b"")


def test_a_class_that_failed_to_compile_fails_again_the_same_way() -> None:
    cls = _class(Record, a=bytes)
    for _ in range(2):
        with pytest.raises(TypeError, match="says not how"):
            cls.parse(b"")
    with pytest.raises(TypeError, match="says not how"):
        cls(b"").build()


def test_messages_of_a_module_are_those_it_defines() -> None:
    found = all_messages(sys.modules[__name__])
    assert Late in found
    assert Record not in found
    with pytest.raises(LookupError, match="defines no message"):
        all_messages(sys)


def test_compiled_closures_take_the_place_of_the_first_use_methods() -> None:
    Late.parse(b"\x01")
    assert Late.parse is compiled(Late).parse
    with pytest.raises(DecodeError):
        Late.parse(b"")
