"""Golden vectors of the protocol: spec/vectors/*.json, spec/rights.json and spec/schemas.json, made from the code.

``python -m tools.vectors`` writes them all again. Everything is made from fixed seeds, so that the same code writes the
same bytes; what draws randomness inside a library (HPKE) is kept as fixed input in ``sealed_samples.json``.
"""
