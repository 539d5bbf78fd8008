"""From what a search found to full training and to folders that stand alone."""
