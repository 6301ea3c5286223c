"""What keeps a run safe and its commands plain: settings, devices, ranks, files, what a run leaves on disk."""
