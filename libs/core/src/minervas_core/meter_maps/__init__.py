"""Reading meters: what is on the wire, and what registers mean. Pure; shared by gateways and whoever verifies."""
