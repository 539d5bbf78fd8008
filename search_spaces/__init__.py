"""Search spaces: typed knobs, and `decode` from their values to an architecture. See `space.SearchSpace`."""
