"""Chapter 6: from language models back to control."""
