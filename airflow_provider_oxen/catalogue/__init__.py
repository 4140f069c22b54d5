"""What a model can do and what it costs. This package decides; callers with a client send the requests."""
