"""FiRa's UWB Command Interface (UCI): how a host speaks to a UWB subsystem, both ends, over any stream of bytes."""
