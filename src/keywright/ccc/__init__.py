"""CCC Digital Key as the documented profile "CCC-public": a vehicle and a device, both ends, and what goes with them.

The specification is for members of the CCC only and was not read. What public notes and re-implementations say is
followed; what they leave open is ours. `ccc.profile` says of each constant which of the two it is, docs/ccc.md shows
the table. Nothing here claims that a vehicle or a phone of the market would understand it.
"""
