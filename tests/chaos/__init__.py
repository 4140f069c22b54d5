"""Kills at exact steps in a real Airflow: one image is paid for once, and kept.

``python tests/chaos/run.py`` starts an Airflow of its own (each component a process, SQLite in a home
under ``/tmp``), gives every row of the table in :mod:`.rows` a hub and a Dag run of its own, strikes,
and then counts: what the hub billed, what lies in the folder, what the logs say. pytest collects
nothing here. Linux only: processes are found in ``/proc``.

:mod:`.rows` says what is struck and what must come out; :mod:`.traps` kill from within, where nothing
outside marks the instant, :mod:`.strikes` from outside, where the hub does; :mod:`.scene` is what one
row has to itself, :mod:`.deployment` the Airflow they share, :mod:`.watchdog` its end; :mod:`.checks`
and :mod:`.leaks` judge.
"""
