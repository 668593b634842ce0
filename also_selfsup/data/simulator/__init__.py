"""A procedural street under a simulated lidar, written in the layouts of real data sets so that real loaders read it."""

from also_selfsup.data.simulator.generate import LAYOUTS, simulate
from also_selfsup.data.simulator.sensors import SENSORS

__all__ = ["LAYOUTS", "SENSORS", "simulate"]
