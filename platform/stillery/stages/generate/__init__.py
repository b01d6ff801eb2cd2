"""Generation: the teacher's samples."""
