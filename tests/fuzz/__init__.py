"""Strangers' data in every form: answers, records, sidecars, events, images, made odd by a seeded mutator.

Each case ends in a result or in an ``OxenError``, within bounds of time and memory, and shows neither the key
nor a signed query. ``run.py`` plays all of them, ``test_fuzz.py`` a small share.
"""
