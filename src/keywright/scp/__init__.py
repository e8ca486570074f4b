"""Secure channel protocols, host and card end beside each other."""
