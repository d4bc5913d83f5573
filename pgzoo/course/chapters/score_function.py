"""Chapter 2: the log-derivative trick."""
