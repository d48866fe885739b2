"""The registered architectures, and a network on disk."""
