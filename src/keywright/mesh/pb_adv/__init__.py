"""PB-ADV: provisioning PDUs over advertising, in segments that are acknowledged (MshPRT 5.2.1, 5.3)."""
