"""Two tiny models that ship with the package, so that a whole run works offline on a laptop: a teacher that reasons in
traces, and a base for students that knows the language of the problems but has never seen a trace.

Both are Hugging Face folders; how they were made is in `stillery.tiny_models.train` and in their model cards.
"""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
TEACHER: Path = MODELS / "teacher"
STUDENT: Path = MODELS / "student"
