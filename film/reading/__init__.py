"""What the user writes into frozen requests: campaign files, scripts, and command options.

Takes text, not paths, and names the line of anything it cannot read. A campaign is YAML
(`films`, `defaults`, `matrix`), JSON Lines or CSV (one film a line); a script is YAML with
`scenes`. The keys are the same everywhere.
"""
