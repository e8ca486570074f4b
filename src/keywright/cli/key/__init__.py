"""`keywright key`: digital keys (Aliro): locks, the fobs that open them, and who may."""
