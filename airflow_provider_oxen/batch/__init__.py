"""Many prompts in one task."""
