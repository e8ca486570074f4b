"""Bluetooth Mesh: provisioning over any bearer, both ends, and what a network needs to take a node in."""
