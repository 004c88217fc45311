"""The pages of operators and applicants: rendered here, without any script in the browser (docs/adr/0031)."""
