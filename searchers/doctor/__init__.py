"""Looks at a run folder, says what is damaged and what that means, and repairs what can be."""
