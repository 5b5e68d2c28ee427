"""Measures a bundle with the engine itself: `convert`, then `compare`, on people it has not seen."""
