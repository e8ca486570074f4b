"""Aliro 1.0: a reader (lock) and a user device (holder of Access Credentials), their objects and their provisioning.

The specification was read through public projects that quote or implement it, never itself: docs/aliro.md says how
sure each part is, and what is behind a switch (`aliro.profile`).
"""
