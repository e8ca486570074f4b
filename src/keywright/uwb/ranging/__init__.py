"""Ranging itself: the initiator, the responders, and the radio each of them is put before."""
