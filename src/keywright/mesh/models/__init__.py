"""The models that every node has: Configuration, and Remote Provisioning (MshPRT 4)."""
