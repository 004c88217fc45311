"""Evidence for people: certificates of origin, and bills down to the wire (spec/certificates.md, spec/evidence.md)."""
