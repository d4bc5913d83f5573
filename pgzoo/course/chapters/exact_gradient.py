"""Chapter 1: the gradient you can compute."""
