"""Training: the loaders, the two Lightning modules, and the trainer around them."""
