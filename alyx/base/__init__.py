"""Words that every layer shares: errors, clock, ids, JSON, the identity of a caller. Imports nothing of ours."""
