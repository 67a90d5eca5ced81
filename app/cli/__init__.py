"""The `longreel` command. Each module holds the commands of one kind.

Commands import what they need when they run, so that `longreel --help` and `longreel ls` stay
quick.
"""
