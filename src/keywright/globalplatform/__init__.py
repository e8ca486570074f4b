"""Card content management, off-card, and the wire both ends share."""
