"""What steps say that can be checked, and what decides it."""
