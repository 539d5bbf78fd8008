"""Data sets, augmentation, recipe, and the loop that trains and evaluates one architecture."""
