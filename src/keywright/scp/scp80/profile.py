"""What cards do differently under SCP80, or what the text leaves open; each a named choice."""

from __future__ import annotations

from typing import Literal

import msgspec


class Profile(msgspec.Struct, frozen=True):
    """Choices of one card product, for either end.

    single_des: accept single DES for ciphering and CC; current releases reserve it, so it is refused.
    aes_needs_counter: AES only with counter mode 10 or 11, because its IV is zero. Unsure: real cards accept mode 00.
    answer_as_command: an answer has no check of another kind than its command, and is ciphered only if that was.
    counter_per: what a counter belongs to. Unsure: implementations differ.
    unchecked_stores: whether counter mode 01 stores the counter. Unsure: implementations do not.
    errors_in_clear: errors found before the sender is known are answered without protection. Old cards sign them.
    warnings_stop: whether status words 62xx and 63xx end a script. Unsure.
    count_in_indefinite: whether a response AF begins with the number of executed commands, as many cards send it
    although the table of that form has none.
    comprehension_tags: commands and responses of the expanded format as A2 and A3; some cards want that.
    des_sensitive: mode of the DES key that encrypts keys inside a packet (KIK). Unsure. An AES one is CBC, ICV 0.
    """

    single_des: bool = False
    aes_needs_counter: bool = True
    answer_as_command: bool = True
    counter_per: Literal["key set", "application"] = "key set"
    unchecked_stores: bool = False
    errors_in_clear: bool = True
    warnings_stop: bool = False
    count_in_indefinite: bool = False
    comprehension_tags: bool = False
    des_sensitive: Literal["ECB", "CBC"] = "ECB"


STRICT = Profile()
"""The defaults: what the reference texts ask for."""
