// Grafana's packages read this when they are loaded; the application would have set it.
window.grafanaBootData = { settings: { featureToggles: {} }, user: { language: 'en-US', locale: 'en-US' } };
