"""What is measured: scores over a whole split, and predictions at the scan's full resolution."""
