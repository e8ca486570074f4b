"""What keeps a lot in hand: limits and brakes, retries, and what persons decide."""
