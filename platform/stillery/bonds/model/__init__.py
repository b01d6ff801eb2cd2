"""What each step is for and which steps are joined."""
