"""The database: tables, migrations, named queries and conditional transitions.

It owns the truth about films and segments. Every change of state is one conditional statement,
whose row count shows if it happened. Every lease is measured by the database's own clock.
"""
