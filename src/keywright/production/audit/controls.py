"""The controls R1 to R20 of a production line, in our own words, and what this software does about each.

They are paraphrases of what card production rules ask for, not the text of any, and no statement of compliance.
`standing`: `software` where the program does it, `partly` where it does some of it, `organisational` where people must,
`not built` where it could and does not.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Standing = Literal["software", "partly", "organisational", "not built"]


class Control(NamedTuple):
    """One control: its id, what is asked, how far the software goes, what it does, and what is left."""

    id: str
    asked: str
    standing: Standing
    does: str
    left: str = ""


CONTROLS: Final[tuple[Control, ...]] = (
    Control(
        "R1",
        "nobody alone obtains or uses a clear master key",
        "partly",
        "ceremonies with named custodians, one part each, and two who compare the check value; one person in two roles "
        "is refused; fewer parts than needed say nothing about the key",
        "that custodians keep their parts apart; a software keystore is opened by one unlock key",
    ),
    Control(
        "R2",
        "clear keys only inside an HSM",
        "partly",
        "the keystore interface gives out no key; with pkcs11 masters and session keys stay in the token while its "
        "client behaves; a canary key is looked for in everything that is written",
        "a certified HSM: SoftHSM and the software keystore are none; who has the token's PIN can derive",
    ),
    Control(
        "R3",
        "keys in key blocks that bind their use",
        "partly",
        "keys that travel between zones do so in X9.143 blocks D or E; every changed character is refused",
        "keys at rest are sealed by the keystore's own format or by the token",
    ),
    Control(
        "R4",
        "one purpose for each key; production and test apart; other keys for each zone and lot",
        "software",
        "purpose and environment stand in the registry and are checked at every use; a key of the other environment is "
        "refused; diversification takes in the lot",
    ),
    Control(
        "R5",
        "every key has an id, an owner, periods and a state, and is in an inventory",
        "software",
        "the key registry: states of SP 800-57, originator and recipient periods, parents; a key past its period "
        "makes nothing new",
    ),
    Control("R6", "wrapping keys at least as strong as what they wrap", "software", "a table of strengths, checked"),
    Control(
        "R7",
        "named accounts, least rights, separated duties, strong log-in",
        "partly",
        "a signed directory of persons with roles that exclude each other; private keys sealed with a passphrase of 12 "
        "characters or more, shut for 30 minutes after 6 wrong tries",
        "log-in of operators at the machine, screen locks and several factors are the operating system's",
    ),
    Control(
        "R8",
        "two persons for sensitive functions",
        "software",
        "approvals: signed by another person than asked, bound to the exact operation, 30 minutes, used once",
    ),
    Control(
        "R9",
        "personalisation files encrypted and authenticated, in transit and at rest",
        "not built",
        "orders hold no secrets: unit keys are derived at the line; an order is read once and bound by its digest, and "
        "one that was changed is refused",
        "a data preparation file with secrets in it, encrypted and signed by its sender: there is no such file yet, so "
        "nothing of the kind may be brought to the line",
    ),
    Control(
        "R10",
        "secret data deleted after use, with proof",
        "partly",
        "unit keys are never stored, they are derived when needed; a destroyed key leaves the keystore and its record "
        "stays",
        "proof that backups and disks forget",
    ),
    Control(
        "R11",
        "logs of who did what, protected, reviewed and kept",
        "partly",
        "the audit log in the transaction of what it tells of, a Merkle tree with signed checkpoints for a witness, in "
        "a file or on a second host that cosigns; any change is found with its place; auditors sign off what was to be "
        "looked at, bound to the tree; bodies may be given up after their time",
        "that auditors look, synchronised clocks, and a witness that is really kept elsewhere",
    ),
    Control(
        "R12",
        "every blank accounted for, counted by two",
        "software",
        "a double-entry ledger of units and records; a lot closes only at zero difference, destruction needs two",
        "the counting",
    ),
    Control(
        "R13",
        "re-makes controlled, nothing produced twice",
        "software",
        "uniqueness of serial, device, key and certificate in the database; a spoiled record is never issued again",
    ),
    Control(
        "R14",
        "segregated networks",
        "organisational",
        "stations dial out only; the HSM's client listens on nothing but a socket of its own process",
        "the networks themselves",
    ),
    Control(
        "R15",
        "change control of recipes and software",
        "partly",
        "a lot is bound to the hash of its recipe, in the log too; an altered recipe or order is refused",
        "signed releases of the software, checked when it starts",
    ),
    Control(
        "R16",
        "vulnerabilities, malware, hardening",
        "organisational",
        "dependencies are pinned by hash",
        "scanning, patching, hardening of machines",
    ),
    Control(
        "R17",
        "incidents: compromise, loss, shortage",
        "partly",
        "a compromised key stops everything below it, and the units it reached are marked and held back",
        "telling people, and keeping evidence",
    ),
    Control(
        "R18",
        "secret values never on screens, labels once",
        "partly",
        "secrets do not print, and traces are masked",
        "control over paper and printers",
    ),
    Control(
        "R19",
        "remote provisioning: mutual authentication, no replay",
        "software",
        "secure channels and their tests: both sides prove their keys, what is repeated or changed is refused",
    ),
    Control(
        "R20",
        "backups of keys under the same control, restore tested",
        "partly",
        "backup and restore are ceremonies; a restore into an empty keystore gives the same check value",
        "where backups are kept",
    ),
)
BY_ID: Final = {control.id: control for control in CONTROLS}
