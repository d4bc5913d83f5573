"""Is this Ψ right? Exact gradients, probes, and a verdict in words."""
