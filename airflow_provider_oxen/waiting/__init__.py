"""How the end of a job is learnt: the list and the event stream, one of each for all who wait."""
