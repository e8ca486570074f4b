"""Named persons, their keys, and what they allow each other."""
