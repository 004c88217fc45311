-- Grafana's own database. Its role has no right anywhere else.
SELECT 'CREATE DATABASE grafana OWNER grafana TEMPLATE template0 ENCODING ''UTF8'' LOCALE ''C'''
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'grafana')
\gexec
REVOKE ALL ON DATABASE grafana FROM PUBLIC;
