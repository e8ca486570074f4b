"""`keywright ceremony`: master keys that no person holds alone."""
