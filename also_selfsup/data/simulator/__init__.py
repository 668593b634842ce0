"""A procedural street under a simulated lidar, written to disk in the layouts of real data sets."""

from also_selfsup.data.simulator.generate import LAYOUTS, simulate
from also_selfsup.data.simulator.sensors import SENSORS

__all__ = ["LAYOUTS", "SENSORS", "simulate"]
