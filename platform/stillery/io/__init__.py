"""Storage: folders, file transfers between them, readers and hashes."""
