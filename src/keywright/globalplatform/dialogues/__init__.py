"""Dialogues of card content management, by topic: what `host.py` has no room for."""
