"""Chapter 8: the comparison."""
