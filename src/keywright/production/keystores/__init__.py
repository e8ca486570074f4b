"""Keystores: what the line asks of whoever keeps its keys, the registry of the keys, and the software keystore."""
