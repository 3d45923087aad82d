"""Pure functions on tensors: the hot paths, and the sizes they work at."""
