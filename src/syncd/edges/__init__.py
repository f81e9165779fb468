"""Face people and peers: parse, one call inward, render."""
