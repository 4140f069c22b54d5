"""Learn when a job ends: by the list and by the event stream, each shared by everything that waits."""
