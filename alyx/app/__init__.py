"""The running program: joins the parts in layer order, starts, reloads and stops them, and brings files in and out.

Owns what needs several layers at once: dev mode, `serve` with its workers, the way to an up-to-date database, imports, checks of
a whole project. Called by `cli` alone. Never knows how anything looks on a screen (`screen.Screen` is told what happened), and
never decides what a rule, a route or a migration means.
"""
