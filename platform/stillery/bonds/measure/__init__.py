"""What a molecule or a model's attention amounts to."""
