"""Settings: the typed schema of a run, and the files that hold it."""
