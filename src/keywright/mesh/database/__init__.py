"""What the owner of a network knows and must not lose: keys, nodes, and which addresses were ever given out."""
