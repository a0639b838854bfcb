"""Two engines behind one way of working: statements in, rows out; migrations; the change log.

Knows the schema, never rules or HTTP.
"""
