"""Recipes: the examples are read as written, everything wrong is refused with file and line."""

from __future__ import annotations

import hashlib
import re
import tomllib
import types
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.errors import RecipeError
from keywright.production import parameters
from keywright.production.parameters import (
    MESH,
    STEPS,
    Authenticate,
    Identify,
    LockDown,
    OwnKeys,
    Parameters,
    Personalise,
)
from keywright.production.recipe import parse_recipe, read_recipe
from keywright.production.steps import table
from keywright.production.toml_lines import Lines

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = 'name = "r"\ndevice = "fob"\nlink = "sim:fob"\n'
IDENTIFY = '[[step]]\nname = "identify"\n'
AUTHENTICATE = '[[step]]\nname = "authenticate"\nkeys = "gp-test"\n'
DES_TEMPLATE = "$4 $5 $6 $7 $8 $9 F0 $k $4 $5 $6 $7 $8 $9 0F $k"
OWN_KEYS = '[[step]]\nname = "own_keys"\nmaster = "issuer"\n'
PERSONALISE = '[[step]]\nname = "personalise"\napplet = "F04B57464F42"\nca = "device-ca"\n'


def refusal(text: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text.encode(), "r.toml")
    return caught.value


def test_the_fob_example_has_all_five_steps_with_their_parameters() -> None:
    data = (EXAMPLES / "fob.toml").read_bytes()
    recipe = read_recipe(EXAMPLES / "fob.toml")
    assert (recipe.name, recipe.device, recipe.link) == ("fob", "fob", "sim:fob")
    assert recipe.digest == hashlib.sha256(data).hexdigest()
    assert recipe.text.encode() == data
    assert [step.name for step in recipe.steps] == [name for name in STEPS if name not in (MESH, "aliro")]
    identify, authenticate, own_keys, personalise, lock_down = (step.parameters for step in recipe.steps)
    assert isinstance(identify, Identify)
    assert None not in msgspec.structs.astuple(identify.product)
    assert (identify.i, identify.fresh) == ((0x70,), True)
    assert authenticate == Authenticate(keys="gp-test", kvn=0xFF, level=0x33)
    assert own_keys == OwnKeys(scheme="sp800-108", master="issuer", kvn=0x30, key_bytes=16, remove_factory=True)
    assert isinstance(personalise, Personalise)
    assert (personalise.ca, personalise.validity_days, len(personalise.configuration)) == ("device-ca", 3650, 3)
    assert lock_down == LockDown(state="SECURED")
    lines = recipe.text.splitlines()
    assert all(lines[step.line - 1] == "[[step]]" for step in recipe.steps)


def test_the_card_example_takes_over_the_keys_and_no_more() -> None:
    recipe = read_recipe(EXAMPLES / "card.toml")
    assert [step.name for step in recipe.steps] == ["identify", "authenticate", "own_keys"]
    assert recipe.steps[0].parameters == Identify()


def test_a_step_is_found_by_name() -> None:
    recipe = parse_recipe((HEAD + IDENTIFY).encode())
    assert recipe.step("identify") is recipe.steps[0]
    assert recipe.step("lock_down") is None


def test_a_stored_recipe_reads_back_equal() -> None:
    recipe = read_recipe(EXAMPLES / "fob.toml")
    assert parse_recipe(recipe.text.encode()) == recipe


def test_configuration_values_are_text_or_hex() -> None:
    p = Personalise(applet="A000000151", ca="c", configuration={"b": "ü", "a": "hex:00 ff"})
    assert p.configuration_items() == (("b", "ü".encode()), ("a", b"\x00\xff"))
    assert p.aid == bytes.fromhex("A000000151")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.toml:1: the key 'name' is missing"),
        ('name = "r"\n', "r.toml:1: the key 'device' is missing"),
        ("x = 1\n", "r.toml:1: unknown key 'x'"),
        (HEAD + 'environment = "live"\n' + IDENTIFY, "r.toml:4: environment: 'live' is not known"),
        (HEAD + "identity = 7\n" + IDENTIFY, "r.toml:4: identity: expected the name of a key"),
        (HEAD, "r.toml:1: the key 'step' is missing"),
        (HEAD + "step = []\n", "r.toml:4: the recipe has no steps"),
        (HEAD + "step = [1]\n", "r.toml:4: a step is a table [[step]]"),
        (HEAD + "[step]\n", "r.toml:4: step: expected tables [[step]]"),
        ('name = 7\ndevice = "fob"\nlink = "sim:fob"\nstep = []', "r.toml:1: name: expected a text"),
        ('device = "fob"\nlink = "sim:fob"\nname = "../x"\nstep = []', "r.toml:3: name: letters"),
        ('name = "r"\ndevice = "fob"\nlink = "fob"\nstep = []', "r.toml:3: link: not usable"),
        ('name = "r"\ndevice = ""\nlink = "sim:fob"\nstep = []', "r.toml:2: device: "),
        (HEAD + "step = [\n", "r.toml:5: not TOML: "),
        (HEAD + "x = = 1\n", "r.toml:4: not TOML: Invalid value"),
        (HEAD + IDENTIFY + 'name = "identify"\n', "r.toml:6: not TOML: Cannot overwrite a value"),
        (HEAD + "\n[[step]]\nkvn = 1\n", "r.toml:5: the step has no name"),
        (HEAD + '[[step]]\n\nname = "identity"\n', "r.toml:6: unknown step 'identity'"),
        (HEAD + "[[step]]\nname = 7\n", "r.toml:5: unknown step 7"),
        (HEAD + IDENTIFY + "fresch = true\n", "r.toml:6: step 'identify': unknown key 'fresch'"),
        (
            HEAD + IDENTIFY + "product = { ic_typ = 1 }\n",
            "r.toml:6: step 'identify', product: unknown key 'ic_typ'",
        ),
        (
            HEAD + IDENTIFY + "[step.product]\nos_id = 1\nic_type = 65536\n",
            "r.toml:8: step 'identify': product.ic_type: Expected `int` <= 65535",
        ),
        (HEAD + IDENTIFY + 'fresh = "yes"\n', "r.toml:6: step 'identify': fresh: Expected `bool`, got `str`"),
        (HEAD + IDENTIFY + "fresh = 1\n", "r.toml:6: step 'identify': fresh: Expected `bool`, got `int`"),
        (HEAD + IDENTIFY + "i = [\n 0x70,\n 256]\n", "r.toml:6: step 'identify': i.1: Expected `int` <= 255"),
        (
            HEAD + IDENTIFY + '[[step]]\nname = "authenticate"\n',
            "r.toml:6: step 'authenticate': the parameter 'keys'",
        ),
        (
            HEAD + IDENTIFY + AUTHENTICATE + "level = 0x23\n",
            "r.toml:9: step 'authenticate': level: Invalid enum value 35",
        ),
        (HEAD + IDENTIFY + AUTHENTICATE + "kvn = 256\n", "r.toml:9: step 'authenticate': kvn: Expected `int` <= 255"),
        (HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + 'scheme = "visa9"\n', "r.toml:12: step 'own_keys': scheme: "),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + 'scheme = "$4 F0 $x"\n',
            "r.toml:12: step 'own_keys': scheme: key template, position 7",
        ),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + f'scheme = "{DES_TEMPLATE} F1 F2 F3 F4 F5 F6 F7 F8"\n',
            "r.toml:9: step 'own_keys': key_bytes: the template's scheme derives 24-byte keys",
        ),
        (HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + "kvn = 0\n", "r.toml:12: step 'own_keys': kvn: Expected"),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + 'scheme = "emv"\nkey_bytes = 32\n',
            "r.toml:13: step 'own_keys': key_bytes: the emv scheme derives 16-byte keys",
        ),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + PERSONALISE + '[step.configuration]\na = "x"\nb = "hex:0"\n',
            "r.toml:18: step 'personalise': configuration.b: after hex:",
        ),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + PERSONALISE + "configuration = { a = 7 }\n",
            "r.toml:16: step 'personalise': configuration",
        ),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + '[[step]]\nname = "personalise"\napplet = "F0"\nca = "c"\n',
            "r.toml:14: step 'personalise': applet: Expected `str` matching regex",
        ),
        (HEAD + IDENTIFY + IDENTIFY, "r.toml:7: the step 'identify' is already on line 4"),
        (HEAD + AUTHENTICATE, "r.toml:5: the step 'authenticate' needs 'identify' before it"),
        (HEAD + IDENTIFY + OWN_KEYS, "r.toml:7: the step 'own_keys' needs 'authenticate' before it"),
        (
            HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + '[[step]]\nname = "lock_down"\n' + PERSONALISE,
            "r.toml:15: the step 'personalise' cannot come after 'lock_down'",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(text: str, message: str) -> None:
    assert str(refusal(text)).startswith(message)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (HEAD + '[[step]]\nname = "lockdown"\n', "did you mean 'lock_down'?"),
        (HEAD + IDENTIFY + AUTHENTICATE + "levle = 1\n", "did you mean 'level'?"),
        (
            HEAD + IDENTIFY + AUTHENTICATE + "q = 1\n",
            "known are keys, kvn, level, session_keys, card, timeout_s, retries, backoff_s",
        ),
        ("divice = 1\n", "did you mean 'device'?"),
    ],
)
def test_the_likely_word_is_offered(text: str, hint: str) -> None:
    assert refusal(text).hint == hint


def test_a_recipe_that_is_not_utf8_or_endless_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'name = "r"\n# caf\xe9\n')
    with pytest.raises(RecipeError, match=r"r\.toml:2: not UTF-8"):
        read_recipe(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(RecipeError, match="longer than"):
        read_recipe(path)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    path.write_text("x = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(RecipeError, match=r"nested too deeply|not TOML"):
        read_recipe(path)


def test_every_step_says_which_steps_it_needs_and_they_exist() -> None:
    for kind in STEPS.values():
        assert set(kind.requires) <= set(STEPS)
        assert all(list(STEPS.values()).index(STEPS[name]) < list(STEPS.values()).index(kind) for name in kind.requires)
        assert msgspec.structs.fields(kind)


DOCUMENT = """# [no.table]
a = \"\"\"
b = 1
[not] \"\"\"
list = [ # x = 1
  1, '#',
  { c = [2] },
]
"q k" = 1 # c = 2
d.e = 3
[t.u]  # header
v = '''one line'''
w = 'a = 1'
[[t.list]]
x = 1
[[t.list]]
x = 2
[t.list.sub]
y = 3
"a=b" = 4
"""


def test_lines_of_keys_survive_comments_multi_line_strings_and_dotted_keys() -> None:
    tomllib.loads(DOCUMENT)
    lines = Lines(DOCUMENT)
    assert lines.of("a") == 2
    assert lines.of("b") == 1
    assert lines.of("list", 2, "c") == 5
    assert lines.of("q k") == 9
    assert lines.of("d", "e") == 10
    assert lines.of("t", "list", 1, "sub", "a=b") == 18
    assert (lines.of("t", "u"), lines.of("t", "u", "v"), lines.of("t", "u", "w")) == (11, 12, 13)
    assert (lines.of("t", "list", 0, "x"), lines.of("t", "list", 1), lines.of("t", "list", 1, "x")) == (15, 16, 17)
    assert (lines.of("t", "list", 1, "sub", "y"), lines.of("t", "list", 1, "sub", "none")) == (19, 18)


@given(st.text(max_size=60), st.integers(0, 400))
def test_any_damage_is_read_or_refused_as_a_recipe(damage: str, at: int) -> None:
    text = (EXAMPLES / "fob.toml").read_text()
    at %= len(text)
    for damaged in (text[:at] + damage + text[at:], text[:at] + damage, damage):
        try:
            recipe = parse_recipe(damaged.encode())
        except RecipeError as error:
            place = str(error)
        else:
            place = f"recipe:{recipe.steps[0].line}:"
        assert re.match(r"recipe:\d+:", place)


def test_a_step_of_another_package_is_read_and_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Label(Parameters, frozen=True, kw_only=True):
        requires = ("identify",)
        text: str

    module = types.SimpleNamespace(PARAMETERS=Label, run=lambda job, p: iter(()))
    entry = types.SimpleNamespace(load=lambda: module)
    monkeypatch.setattr(parameters, "entry_points", lambda group, name: [entry] if name == "label" else [])
    text = b'name="r"\ndevice="card"\nlink="sim:element"\n[[step]]\nname="identify"\n[[step]]\nname="label"\n'
    found = parse_recipe(text + b'text="x"\n').step("label")
    assert found is not None
    assert found.parameters == Label(text="x")
    assert table.step.__wrapped__("label") is module.run
    with pytest.raises(RecipeError, match=r":6: .*'text' is missing"):
        parse_recipe(text)


def test_a_step_that_needs_our_applet_is_refused_for_any_card() -> None:
    text = (EXAMPLES / "fob.toml").read_bytes().replace(b'device = "fob"', b'device = "card"')
    with pytest.raises(RecipeError, match="'personalise' is not for a card"):
        parse_recipe(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('radio = "hex:0A1F"', f'radio = "{"x" * 1100}"'), "configuration: takes .* at most 2048 fit"),
        (('link = "sim:fob"', 'link = "sim:fob?memory=/tmp/x"'), ":[0-9]+: link: a recipe names no files"),
        (("kvn = 0x30", f"kvn = {'9' * 5000}"), "a number in it is too long|kvn"),
    ],
)
def test_what_would_fail_after_the_keys_were_changed_is_refused_before(change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe((EXAMPLES / "fob.toml").read_text().replace(*change).encode())


def test_a_recipe_is_for_trying_out_unless_it_says_production() -> None:
    text = HEAD + IDENTIFY
    assert parse_recipe(text.encode()).environment == "test"
    assert parse_recipe((HEAD + 'environment = "production"\n' + IDENTIFY).encode()).environment == "production"


@pytest.mark.parametrize("scheme", ["visa", "visa2", DES_TEMPLATE, "$_ 00 $k $0 $9"])
def test_every_scheme_and_template_of_the_diversification_may_be_asked_for(scheme: str) -> None:
    recipe = parse_recipe((HEAD + IDENTIFY + AUTHENTICATE + OWN_KEYS + f'scheme = "{scheme}"\n').encode())
    own_keys = recipe.steps[-1].parameters
    assert isinstance(own_keys, OwnKeys)
    assert own_keys.scheme == scheme
