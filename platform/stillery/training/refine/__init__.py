"""Refining the student after fine-tuning: reinforcement learning on verified rewards, or preferences."""
