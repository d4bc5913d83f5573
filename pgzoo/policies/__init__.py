"""Networks whose parameters are a matrix, and what policies and critics say of a batch."""
