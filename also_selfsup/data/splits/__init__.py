"""Official scene and frame lists of the data sets, as compact text."""
