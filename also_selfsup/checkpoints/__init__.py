"""Checkpoints: written whole, read without running anything of them, turned into weights."""
