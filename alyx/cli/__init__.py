"""The command line: what is typed, what is printed, and the exit codes.

Called by the `alyx` script and `python -m alyx`. Every command reads its options, asks `app` or a layer below for the work, and
tells the outcome to a person, or with --json to a script. Imports what a command needs when that command runs, so that
`alyx --help` is quick. Never does the work itself; nothing imports it.
"""
