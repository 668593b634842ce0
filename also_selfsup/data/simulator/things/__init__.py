"""Builders of the things that stand and drive in the simulated street; each answers one `Thing` or a list of them."""
