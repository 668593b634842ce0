"""Self-supervised pre-training for automotive lidar by occupancy estimation."""

import os

# torch's threads wait for one another by spinning, thousands of times in a step of a sparse network. Where
# other work shares the cores, that takes up to five times as long as the work; so they soon sleep. torch
# reads this once, when it is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
