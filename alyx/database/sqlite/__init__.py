"""SQLite in process, through apsw alone (design.md §3).

`connection` opens the file, `reader` and `writer` run work on it, `engine` joins them; `changes` writes the change log's
triggers, `internal` keeps Alyx's own tables. Knows nothing of rules, records or HTTP.
"""
