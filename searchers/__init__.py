"""The search itself: who proposes, who stops, who runs, what is kept."""
