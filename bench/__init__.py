"""`make bench`: Alyx beside PocketBase on one machine, in one run, alternating; needs `wrk` (a Debian package)."""
