"""Storage: folders, files carried between them, readers and hashes."""
