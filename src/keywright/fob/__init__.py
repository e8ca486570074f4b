"""A key fob: a secure element with what belongs to it, simulated or real, and how to reach one."""
