"""Self-supervised pre-training for automotive lidar by occupancy estimation."""
