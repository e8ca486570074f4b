"""How two ends agree on a ranging session: time sync, M1 to M4, suspend and resume, however these are carried."""
