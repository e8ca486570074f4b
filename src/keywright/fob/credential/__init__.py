"""A credential for a key fob: a P-256 key pair made on card, its certificate, owner group and configuration."""
