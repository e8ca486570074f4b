"""What the `prepare` of a step is given: units of an order whose devices are not there yet, and the keystore."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from keywright.production.keystores.keystore import CardKeys, KeyRef, Keystore
from keywright.production.order_names import Named
from keywright.production.parameters import Authenticate
from keywright.production.recipe import Recipe
from keywright.production.unit_store.rows import Certificate, Unit


class Chunk(msgspec.Struct, kw_only=True):
    """Units with what the order says of their devices; of each at least what the step declares that it prepares from.

    `certificates`: those that units have already, by number. `issued` takes the new ones. `at`: seconds since 1970.
    """

    units: tuple[tuple[Unit, Named], ...]
    recipe: Recipe
    keystore: Keystore
    at: float
    rng: Callable[[int], bytes]
    certificates: Mapping[int, Certificate] = {}
    issued: dict[int, Certificate] = {}
    keys: dict[int, CardKeys] = {}
    """Own keys of the units, derived in one turn; whoever made the chunk closes them."""

    def keys_of(self, refs: Mapping[int, KeyRef]) -> Mapping[int, CardKeys]:
        """Own keys of units by number. Errors as `Keystore.card_keys`."""
        spec = self.recipe.step("authenticate")
        allowed = spec.parameters.session_keys if spec and isinstance(spec.parameters, Authenticate) else "inside"
        made = self.keystore.card_keys_of(tuple(refs.values()), session_keys=allowed)
        self.keys.update(zip(refs, made, strict=True))
        return self.keys
