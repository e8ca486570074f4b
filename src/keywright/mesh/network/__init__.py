"""The network of a node: network, lower and upper transport, access (MshPRT 3.4 to 3.7)."""
