"""Every noun of the command line with its one line of help. Nothing is imported to show this list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

_TOPICS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("info", "list", "apdu"), "keywright.cli.card.look"),
    **dict.fromkeys(
        ("install", "create-domain", "make-selectable", "delete", "move", "registry", "rename"),
        "keywright.cli.card.content",
    ),
    **dict.fromkeys(("lock", "unlock", "terminate", "set-status"), "keywright.cli.card.states"),
    "script": "keywright.cli.card.script",
    "scp11": "keywright.cli.card.scp11",
}


class Noun(NamedTuple):
    """One noun: the module of its verbs, loaded when the noun is used, and what it is for.

    topics: a verb to the module that has it and few others, which is enough to run it.
    """

    module: str
    help: str
    verbs: str = ""
    topics: Mapping[str, str] = {}

    def module_of(self, verb: str) -> str:
        """The module to load for a verb."""
        return self.topics.get(verb, self.module)


NOUNS: Final[dict[str, Noun]] = {
    "demo": Noun("keywright.cli.demo", "Provision a lot of simulated key fobs, end to end, and show it."),
    "campaign": Noun(
        "keywright.cli.campaign",
        "Take a lot of units through a recipe.",
        "prepare prepared run status resume report verify release rework unpin remake change-recipe "
        "ledger destroy return close send manifest labels",
    ),
    "card": Noun(
        "keywright.cli.card.verbs",
        "Look at a card, and manage what is on it.",
        "info list keys data apdu install create-domain make-selectable load uninstall delete move registry rename "
        "lock unlock terminate set-status personalise cap sign scp11 ota script shell",
        _TOPICS,
    ),
    "reader": Noun("keywright.cli.reader", "PC/SC readers and what is in them.", "list watch features escape"),
    "element": Noun("keywright.cli.element", "The virtual secure element.", "new serve show"),
    "mesh": Noun(
        "keywright.cli.mesh.verbs",
        "Bluetooth Mesh: networks, and devices to provision.",
        "scan provision root node device network",
    ),
    "uwb": Noun(
        "keywright.cli.uwb.verbs",
        "Ranging by UWB, and attacks on it, in a model.",
        "range attack uci",
        {"uci": "keywright.cli.uwb.uci"},
    ),
    "key": Noun(
        "keywright.cli.key.verbs",
        "Digital keys (Aliro): locks, the fobs that open them, and who may.",
        "unlock enrol share revoke conformance lock ccc",
        {"conformance": "keywright.cli.key.conformance"},
    ),
    "keystore": Noun(
        "keywright.cli.keystore_verbs",
        "Issuer keys, their states, and what came from them.",
        "new show audit import-factory activate suspend deactivate compromise affected",
    ),
    "cluster": Noun(
        "keywright.cli.cluster", "Machines that carry a lot together, each with its readers.", "token head node"
    ),
    "person": Noun(
        "keywright.cli.people",
        "People of the line: their keys, roles and signatures.",
        "new begin add change retire list",
    ),
    "approve": Noun("keywright.cli.approve", "See what was asked for, and sign it.", "list show sign"),
    "audit": Noun(
        "keywright.cli.audit",
        "The log of a lot: take it out, judge it anywhere.",
        "export verify prove rekey show review sign-off give-up controls witness",
    ),
    "ceremony": Noun(
        "keywright.cli.ceremony.verbs",
        "Master keys that no person holds alone.",
        "create import export backup restore destroy approve host enter confirm abort show record log",
    ),
    "decode": Noun("keywright.cli.decode", "Say what bytes mean: commands, answers, or pairs."),
    "replay": Noun("keywright.cli.replay", "Play a recorded exchange back, or compare it with a device."),
}
