"""Which command of an SCP10 initiation is allowed when, read from the table of its card end."""

from __future__ import annotations

from generators.markdown import table
from keywright.scp.scp10 import Profile
from keywright.scp.scp10.card import TABLE, State, Step, ends_session

STATES = {
    State.IDLE: "nothing begun",
    State.BEGUN: "begun",
    State.CHALLENGED: "challenged",
    State.HOST_AUTHENTICATED: "host authenticated",
}
STEPS = {
    Step.MANAGE: "MANAGE SECURITY ENVIRONMENT `22`",
    Step.VERIFY: "PERFORM SECURITY OPERATION [verify certificate] `2A 00`",
    Step.DECIPHER: "PERFORM SECURITY OPERATION [decipher] `2A 80`",
    Step.CHALLENGE: "GET CHALLENGE `84`",
    Step.EXTERNAL: "EXTERNAL AUTHENTICATE `82`",
    Step.INTERNAL: "INTERNAL AUTHENTICATE `88`",
}


def commands() -> str:
    """Command by state: allowed, or the status word that refuses it; and what it does to a session that runs."""
    rows = [(name, *(_cell(state, step) for state in STATES), _ends(step)) for step, name in STEPS.items()]
    return table(("command", *STATES.values(), "ends a running session"), rows)


def _cell(state: State, step: Step) -> str:
    if (state, step) in TABLE:
        return "yes"
    return f"`{Profile().wrong_order:04X}`"


def _ends(step: Step) -> str:
    always = [state for state in State if ends_session(step, state, failed=False)]
    failing = [state for state in State if ends_session(step, state, failed=True)]
    if len(always) == len(State):
        return "always"
    if always:
        return "always when " + " or ".join(STATES[state] for state in always)
    return "when it fails" if failing else "no"


PARTS = {"docs/scp10.md": {"commands": commands}}
