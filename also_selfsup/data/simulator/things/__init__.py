"""Builders of the things that stand and drive in the simulated street."""
