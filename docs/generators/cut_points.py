"""Every place where the power or the process is cut in the tests, counted by the sweeps themselves."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from generators.markdown import table
from keywright.fob.fobs import Model
from support.kills import MOST_SESSIONS_MORE as MORE_AFTER_A_KILL
from support.kills import PHASES, Lot, Moment, count_named_again, count_phases, template
from support.ledger import FOB
from support.recipe_cuts import KINDS, MOST_SESSIONS_MORE, RECOVERIES, SERIAL, SETS, STEPS, cut_everywhere

_SESSIONS = "sessions more, at most"
KILLED_STEPS = STEPS[:-1]
"""Steps of a campaign; `verify` is a command of its own."""

PAGE = """# Cut points

A line that replaces keys has to survive being cut off at any moment: the power of a unit may fail, or its own process
be killed. The tests cut at **every** such moment, one run for each, let the line go on, and hold what comes of it
against a run that nothing disturbed. The tables are counted by those same sweeps (`make docs` writes this page), and a
test fails when they and this page differ.

## The power of the unit

Every dialogue of `examples/fob.toml`, each begun on a unit that went through the steps before it, and `verify`, the
check of a finished unit. A cut falls *before the delivery* of a command; *inside* it, before any commit of the unit's
memory; or *after the delivery, before the answer*. A unit cut inside a command is rebuilt from its memory, after the
others it is reset. Then the line takes it up again in two ways, so that every cut in the table is made twice: by
{ways}, which has nothing but the store. That is {power} cuts.

Afterwards the unit's memory is that of an undisturbed run, but for session counters and what the unit draws itself;
its key pair is the one that the one certificate in the store was issued for; every action was done once, and no intent
is open; every EXTERNAL AUTHENTICATE that the unit answered was answered 9000 (it would block a key set at the third
other answer); and no more sessions were opened besides the undisturbed ones than the last column says.

{power_table}

After a cut at each command that changes the unit, the recovery is cut again at every place of its own.

## The process of the line

A campaign of one unit is killed with SIGKILL at each of its moments, and continued. The moments are *before* and
*after* an *intent* is written, *after* a command was *sent*, *after* its *answer* came, and *before* and *after* the
*commit* of a step's result. Reading an identity changes nothing and has no intent. The simulated unit lives in a
process of its own: a kill leaves it in the middle of whatever it was doing. Afterwards everything said above holds, and
every unit of the lot is sealed, once.

{kill_table}

That is {kills} kills in {states} distinct states of the program: one transaction often holds the result of a step and
the next intent, and its two moments are cut under both names; so {again} kills fall where another one falls too.

Two more lots are killed and continued. One has units side by side, whose changes share transactions: it is killed at
every third moment that they have. One is a unit with other factory keys than the recipe's: wherever it is killed, it is
set aside after one mismatch, without a single EXTERNAL AUTHENTICATE, and never touched again.

Besides, the command `keywright campaign run` is killed from outside, at least twenty times and at moments that nobody
chose, and run again until it is done: no unit is lost, and nothing is done twice.
"""


def page() -> str:
    """The whole page."""
    kills = sum(sum(moments(fate).values()) for fate in SETS)
    again = sum(count_named_again(_passed(fate)) for fate in SETS)
    cuts = {(step, fate): cut_everywhere(step, fate, RECOVERIES[1]) for fate in SETS for step in STEPS}
    return PAGE.format(
        ways=" and by ".join(RECOVERIES),
        power=sum(sum(counts.values()) for counts in cuts.values()) * len(RECOVERIES),
        power_table=_power_table(cuts),
        kill_table=_kill_table(),
        kills=kills,
        again=again,
        states=kills - again,
    )


def _power_table(cuts: dict[tuple[str, str], dict[str, int]]) -> str:
    heads = ("dialogue", "factory key set", *KINDS, "cuts", _SESSIONS)
    rows = [
        (step, fate, *(str(counts[kind]) for kind in KINDS), str(sum(counts.values())), str(MOST_SESSIONS_MORE[step]))
        for (step, fate), counts in cuts.items()
    ]
    return table(heads, rows)


def _kill_table() -> str:
    heads = ("step", "factory key set", *PHASES, "kills", _SESSIONS)
    rows = []
    for fate in SETS:
        for step in KILLED_STEPS:
            counts = [moments(fate)[step, phase] for phase in PHASES]
            rows.append((step, fate, *map(str, counts), str(sum(counts)), str(MORE_AFTER_A_KILL[step])))
    return table(heads, rows)


def moments(fate: str) -> Counter[tuple[str, str]]:
    """How many moments a campaign of one unit has, by step and phase."""
    return count_phases(_passed(fate))


@cache
def _passed(fate: str) -> list[Moment]:
    model = Model(initial_keys_stay=SETS[fate])
    with TemporaryDirectory() as folder:
        place = Path(folder)
        order = f"serial,model,owner_group\n{SERIAL},fob-one,north\n"
        keystore = template(place / "template", FOB.encode(), order.encode())
        passed, ended = Lot(place / "template", place / "lot", keystore, {SERIAL: model}).run()
    if not ended:
        raise RuntimeError("the undisturbed campaign did not come to its end")
    return passed


FILES = {"docs/cut-points.md": page}
