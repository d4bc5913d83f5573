"""Chapter 7: trust regions."""
