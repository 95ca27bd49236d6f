"""The credits layer for Python apps."""
