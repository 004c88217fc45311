"""Bills, statements and certificates as documents for people: CSV and PDF, in Korean and English."""
