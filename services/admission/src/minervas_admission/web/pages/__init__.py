"""The pages: `install_web` finds each module here; it exports ``router(site)``, and ``MENU`` if it has entries."""
