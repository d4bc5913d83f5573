"""Chapter 4: critics."""
