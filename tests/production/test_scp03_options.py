"""Devices with other SCP03 options than the fob's: every one that can do what the recipe asks is provisioned."""

from __future__ import annotations

from pathlib import Path

import pytest

from keywright.errors import UsageError
from keywright.fob.fobs import Model
from keywright.fob.pool import Plan
from keywright.iso7816.apdu import Command, Response
from keywright.production import campaign
from keywright.production.campaign import Run
from keywright.production.means import Means
from keywright.production.watch import Unwatched
from keywright.scp.scp03.messages import EXTERNAL_AUTHENTICATE, INITIALIZE_UPDATE
from support.ledger import CARD, FOB, keystore

UNITS = 2


class Sessions(Unwatched):
    """The lengths of the host challenges, and the levels of the sessions."""

    def __init__(self) -> None:
        self.challenges: set[int] = set()
        self.levels: set[int] = set()

    def exchanged(self, unit: int, sent: Command, plain: Command, got: Response, opened: Response) -> None:
        if sent.ins == INITIALIZE_UPDATE:
            self.challenges.add(len(sent.data))
        if sent.ins == EXTERNAL_AUTHENTICATE:
            self.levels.add(sent.p1)


class Place:
    """A lot on a tray of its own."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._recipe, self._order = folder / "recipe.toml", folder / "order.csv"
        self.store = str(folder / "lot.db")
        self.sessions = Sessions()
        self._recipe.write_text(recipe, encoding="utf-8")
        rows = "".join(f"K-{n},any,north\n" for n in range(UNITS))
        self._order.write_text(f"serial,model,owner_group\n{rows}", encoding="utf-8")

    def run(self, i: int, link: str = "") -> Run:
        plan = Plan(usual=Model(i=i, try_limit=3))
        means = Means(opened_keystore=keystore(), plan=plan, watcher=self.sessions, link=link)
        return campaign.run(self._recipe, self._order, self.store, means)

    def agree(self) -> int:
        return campaign.verify(self.store, Means(opened_keystore=keystore())).agree


@pytest.mark.parametrize(
    ("i", "challenge"), [(0x00, 8), (0x10, 8), (0x60, 8), (0x70, 8), (0x71, 16)], ids=lambda value: f"{value:02X}"
)
def test_any_card_that_has_what_level_03_needs_is_provisioned(tmp_path: Path, i: int, challenge: int) -> None:
    place = Place(tmp_path, CARD)
    done = place.run(i)
    assert (done.summary.sealed, done.exit_code) == (UNITS, 0)
    assert place.sessions.levels == {0x03}
    assert place.sessions.challenges == {challenge}


def test_a_fob_with_long_challenges_is_provisioned_at_level_33_and_verified(tmp_path: Path) -> None:
    place = Place(tmp_path, FOB.replace("i = [0x70]", "i = [0x70, 0x71]"))
    assert place.run(0x71).exit_code == 0
    assert (place.sessions.levels, place.sessions.challenges) == ({0x33}, {16})
    assert place.agree() == UNITS


def test_a_device_without_what_the_level_needs_is_set_aside_by_its_own_refusal(tmp_path: Path) -> None:
    place = Place(tmp_path, CARD.replace("level = 0x03", "level = 0x33"))
    done = place.run(0x10)
    assert (done.summary.quarantined, done.exit_code) == (UNITS, 7)


def test_options_said_by_the_link_count_more_than_the_plans(tmp_path: Path) -> None:
    place = Place(tmp_path, CARD)
    assert place.run(0x70, "sim:element?i=71").exit_code == 0
    assert place.sessions.challenges == {16}


@pytest.mark.parametrize("link", ["sim:element?i=41", "sim:element?kvn=00"])
def test_a_link_to_a_device_that_cannot_be_is_refused_before_a_store_is_made(tmp_path: Path, link: str) -> None:
    place = Place(tmp_path, CARD)
    with pytest.raises(UsageError, match=r"i: 41 is no SCP03 option set|kvn: a key version number"):
        place.run(0x70, link)
    assert not Path(place.store).exists()
