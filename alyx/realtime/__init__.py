"""Live queries: who must hear of a change. See DESIGN.md beside this file."""
