"""All that a model can do and costs. It decides; whoever has a client does the asking."""
