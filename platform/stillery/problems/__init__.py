"""Problems: exact generators, files and datasets, gold answers, splits."""
