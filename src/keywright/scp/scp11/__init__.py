"""SCP11 (GlobalPlatform Card Specification, Amendment F): key agreement on elliptic curves, both ends."""
