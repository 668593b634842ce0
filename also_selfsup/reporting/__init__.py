"""Reporting: pictures of predicted occupancy, learning curves, comparisons, and one page that holds them."""
