"""Training the student: supervised fine-tuning with TRL under Ray Train."""
