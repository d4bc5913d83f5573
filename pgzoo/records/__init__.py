"""What a run leaves behind: its folder, curves, intervals and figures."""
