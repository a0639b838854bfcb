"""CEL rules: parse, check against the schema, judge in Python, lower to SQL (contract §4).

Pure: no I/O, no clock, no driver. `book.RuleBook` is the door; DESIGN.md says why the lowering looks as it does.
"""
