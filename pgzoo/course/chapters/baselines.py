"""Chapter 3: baselines."""
