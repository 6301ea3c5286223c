"""What keeps a run safe and its commands plain."""
