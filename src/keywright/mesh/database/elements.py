"""What a node is made of, in its entry of the document, which other tools write in too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keywright.mesh.models.composition import Composition


def composition_fields(composition: Composition) -> dict[str, Any]:
    """What a node is made of, as its entry has it; nothing is said of what its models use."""
    elements = [
        {
            "index": index,
            "location": f"{element.location:04X}",
            "models": [
                *({"modelId": f"{model:04X}"} for model in element.sig_models),
                *({"modelId": f"{company:04X}{model:04X}"} for company, model in element.vendor_models),
            ],
        }
        for index, element in enumerate(composition.elements)
    ]
    return {
        "cid": f"{composition.cid:04X}",
        "pid": f"{composition.pid:04X}",
        "vid": f"{composition.vid:04X}",
        "crpl": f"{composition.crpl:04X}",
        "elements": elements,
    }


def merged_elements(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Elements as they are now, with what was written before about models that are still there.

    A model that says nothing of its bindings now keeps them; a `publish` of None takes it out.
    """
    old = {element["index"]: element for element in before}
    return [_merged(old.get(element["index"], {}), element) for element in now]


def _merged(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    known = {model["modelId"].upper(): model for model in before.get("models", [])}
    models = [{"subscribe": [], "bind": [], **known.get(one["modelId"], {}), **one} for one in now["models"]]
    gone = [{name: value for name, value in model.items() if (name, value) != ("publish", None)} for model in models]
    return {**before, **now, "models": gone}
