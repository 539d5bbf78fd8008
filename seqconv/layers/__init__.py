"""The SeqConv layer and the literal reference that it is tested against."""
