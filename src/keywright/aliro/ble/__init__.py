"""Aliro over Bluetooth: advertisements, the GATT service, messages on one L2CAP channel, and both ends of a session."""
