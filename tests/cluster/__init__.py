"""The package on a cluster: Celery, PostgreSQL, Redis, two workers, two triggerers, and what happens to them.

``python tests/cluster/run.py`` starts all of it on loopback, each process in a session of its own under
``/tmp``, gives every row of the table in :mod:`.rows` a hub, a place and a Dag of its own, strikes, and then
counts: what the hub billed, what is kept, what the logs and a dump of the database say. pytest collects
nothing here. Linux only.

:mod:`.rows` says what happens to whom and what must come out; :mod:`.acts` says what is struck together and
what beside each other, :mod:`.strikes` strikes; :mod:`.scene` is what one row has to itself, :mod:`.place`
where its images go; :mod:`.cluster` is the Airflow they share, :mod:`.services` its database and its broker;
:mod:`.checks` judges. What it has in common with :mod:`tests.chaos` lies there.
"""
