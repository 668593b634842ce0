"""Self-supervised pre-training for automotive lidar by occupancy estimation."""

import os

# torch's threads wait for one another by spinning, thousands of times in a step of a sparse network. Where
# other work shares the cores, that takes up to five times as long as the work; so they sleep after a while.
# Ten times sooner (1000) is quicker where several trainings share the cores, and slower by a third where one
# has them. torch reads this once, when it is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
