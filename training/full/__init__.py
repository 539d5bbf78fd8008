"""Full training of what a search found: recipe, batches, optimization, checkpoints within an epoch, the loop."""
