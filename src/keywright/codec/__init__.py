"""Bytes to values and back, without meaning: records, BER-TLV templates, hex text."""

from keywright.codec.hexa import tohex, unhex
from keywright.codec.record import U8, U16, U24, U32, U64, LittleRecord, Record, Rest, counted, prefixed, raw
from keywright.codec.tlv import Others, Template, find, item, items, length, tag

__all__ = [
    "U8",
    "U16",
    "U24",
    "U32",
    "U64",
    "LittleRecord",
    "Others",
    "Record",
    "Rest",
    "Template",
    "counted",
    "find",
    "item",
    "items",
    "length",
    "prefixed",
    "raw",
    "tag",
    "tohex",
    "unhex",
]
