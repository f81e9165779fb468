"""Talk: one module for each side that is kept in sync."""
