"""Minervas admission: applications, approval, the CA, broker rights and membership transactions."""

__version__ = "0.1.0"
