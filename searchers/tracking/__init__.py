"""Views of a search for people: what they show can always be rebuilt from the store."""
