"""`make bench`: Alyx beside PocketBase on the same machine, in one run, alternating; needs `wrk` (Debian's package of that name)."""
