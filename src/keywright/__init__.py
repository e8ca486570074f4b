"""Provision whatever holds keys: both ends of every protocol, simulated devices, and a production line."""

__version__ = "0.1.0"
