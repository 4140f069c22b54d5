"""Paid work: whose it is, what exactly is asked for. Pure; sends nothing."""
