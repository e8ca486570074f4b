"""`keywright mesh`: Bluetooth Mesh networks and devices."""
