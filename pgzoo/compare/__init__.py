"""Many runs: statistics over them, figures, a report."""
