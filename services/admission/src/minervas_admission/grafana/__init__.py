"""Access to Grafana: one organisation, data source and user for each member, and the operator's organisation."""
