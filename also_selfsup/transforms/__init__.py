"""Transforms: from collated scans to occupancy queries and a network's input, for the whole batch at once."""
