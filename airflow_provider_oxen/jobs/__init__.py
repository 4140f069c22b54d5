"""Paid jobs: whose job it is, and what exactly is requested. Decides only; sends nothing."""
