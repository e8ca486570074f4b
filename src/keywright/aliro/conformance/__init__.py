"""Scenarios that a user device or a reader of Aliro has to pass, ours or somebody else's.

A scenario drives the side under test from the other one, with what no honest peer sends among it, and says what must
come of it. The families follow the public conformance material as the reference describes it; the identifiers are ours.
"""
