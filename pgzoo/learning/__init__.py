"""Training: from trajectories to new parameters, iteration by iteration."""
