"""A test double of the HTTP API of Grafana 13: what admission and the dashboards' tests need of it, and no more.

It keeps its state in memory. The one thing that it does for real is a query: any SQL of anybody who may read goes to
the real PostgreSQL, under the credentials that the data source was given, on connections that are kept and used again.
So a test that no foreign row comes back says something about the database, not about this program.
What it answers was read in Grafana's source and measured on a server; grafana-client's own tests run against it
(tests/adapters/test_grafana_conformance.py).
"""
