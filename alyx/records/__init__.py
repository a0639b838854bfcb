"""Records over a schema: list, get, create, update, replace, delete, batch.

parse -> plan -> execute -> shape, with the rules on every path.
"""
