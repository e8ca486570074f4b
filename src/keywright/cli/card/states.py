"""Life cycles of a card, its domains and applications."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from keywright.cli.card import words
from keywright.cli.card.connection import Card
from keywright.cli.card.options import byte, changing
from keywright.errors import UsageError
from keywright.globalplatform import names
from keywright.globalplatform.dialogues import states
from keywright.globalplatform.life_cycle import CardState

app = typer.Typer(rich_markup_mode=None)

Target = Annotated[str, typer.Argument(metavar="[AID]", help="An application or domain; without it the card itself.")]
All = Annotated[bool, typer.Option("--applications", help="A domain and every application under it.")]

_CARD: Final = {state.name.lower(): int(state) for state in CardState}
_APPLICATION: Final = {"installed": 0x03, "selectable": 0x07, "personalized": 0x0F}


@app.command()
@changing
def lock(card: Card, target: Target = "", *, applications: All = False) -> None:
    """Lock the card, or one application or domain.

    It can be unlocked. A card is SECURED then, whatever it was before: earlier states never come back.

    Example: keywright card lock A00000000301
    """
    name = words.aid(target) if target else b""
    what = name.hex().upper() or "the card"
    card.confirm(f"lock {what}" + ("" if name else ", which will be SECURED for good once it is unlocked"))
    if not name:
        card.manage(states.lock_card())
    elif applications:
        card.manage(states.lock_domain_with_applications(name))
    else:
        card.manage(states.lock_application(name))
    card.tell(f"locked {what}", {"locked": name.hex().upper() or "card"})


@app.command()
@changing
def unlock(card: Card, target: Target = "", *, applications: All = False) -> None:
    """Unlock the card, or one application or domain.

    Example: keywright card unlock A00000000301
    """
    name = words.aid(target) if target else b""
    what = name.hex().upper() or "the card"
    card.confirm(f"unlock {what}")
    if not name:
        card.manage(states.unlock_card())
    elif applications:
        card.manage(states.lock_domain_with_applications(name, lock=False))
    else:
        card.manage(states.unlock_application(name))
    card.tell(f"unlocked {what}", {"unlocked": name.hex().upper() or "card"})


@app.command()
@changing
def terminate(card: Card) -> None:
    """Terminate the card, for ever.

    There is no way back: it will answer GET DATA and nothing else.

    Example: keywright card terminate --link pcsc: --keys card.toml
    """
    card.confirm("TERMINATE the card, for ever")
    card.manage(states.terminate_card())
    card.drop()
    card.tell("the card is TERMINATED", {"state": "TERMINATED"})


@app.command(name="set-status")
@changing
def set_status(
    card: Card,
    state: Annotated[str, typer.Argument(metavar="STATE", help="Its name, such as SECURED, or one byte in hex.")],
    target: Target = "",
) -> None:
    """Set a life cycle state.

    Of the card through the states between, of an application or domain where that is legal.

    Example: keywright card set-status SECURED
    """
    name = words.aid(target) if target else b""
    value = _state(state, _APPLICATION if name else _CARD)
    shown = names.application_state(value) if name else names.card_state(value)
    card.confirm(f"set {name.hex().upper() or 'the card'} to {shown}")
    if name:
        card.manage(states.set_application_state(name, value))
        card.tell(f"{name.hex().upper()} is {shown}", {"aid": name.hex().upper(), "state": f"{value:02X}"})
        return
    steps = card.manage(states.bring_card_to(value))
    way = " through ".join(names.card_state(step) for step in reversed(steps)) or f"{shown} already"
    card.tell(f"the card is {way}", {"state": f"{value:02X}", "steps": [f"{step:02X}" for step in steps]})


def _state(text: str, known: dict[str, int]) -> int:
    if text.lower() in known:
        return known[text.lower()]
    value = byte(text, "STATE") if len(text) == 2 else None
    if value is None:
        raise UsageError(f"STATE: {text!r} is none", hint=f"{', '.join(map(str.upper, known))}, or one byte in hex")
    return value
