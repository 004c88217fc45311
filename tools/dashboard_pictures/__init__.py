"""Pictures of the dashboards for docs/screens, drawn from their JSON by Grafana's own UI packages in Chromium."""
