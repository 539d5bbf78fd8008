"""The algorithms that propose: one configuration and one function from history to knob values in each file."""
