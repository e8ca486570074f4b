"""What cards do differently under SCP80, or what the text leaves open; each a named choice."""

from __future__ import annotations

from typing import Literal

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """Choices of one card product, for either end."""

    single_des: bool = False
    """Accept single DES for ciphering and CC; current releases reserve it, so it is refused."""
    aes_needs_counter: bool = True
    """[?] AES only with counter mode 10 or 11, because its IV is zero; real cards accept mode 00."""
    answer_as_command: bool = True
    """An answer has no check of another kind than its command, and is ciphered only if that was."""
    counter_per: Literal["key set", "application"] = "key set"
    """[?] What a counter belongs to; implementations differ."""
    new_keys_count_anew: bool = True
    """[?] The counter of a key set is zero again when one of its keys is new."""
    unchecked_stores: bool = False
    """[?] Counter mode 01 stores the counter; implementations do not."""
    errors_in_clear: bool = True
    """[?] Errors found before the sender is known are answered without protection; old cards sign them."""
    warnings_stop: bool = False
    """[?] Status words 62xx and 63xx end a script."""
    count_in_indefinite: bool = False
    """A response AF begins with the number of executed commands, as many cards send it although the table of that form
    has none."""
    comprehension_tags: bool = False
    """Commands and responses of the expanded format as A2 and A3; some cards want that."""
    des_sensitive: Literal["ECB", "CBC"] = "ECB"
    """[?] Mode of the DES key that encrypts keys inside a packet (KIK). An AES one is CBC, ICV 0."""


STRICT = Profile()
"""The defaults: what the reference texts ask for."""
