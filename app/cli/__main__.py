"""`python -m app.cli` is `longreel`."""

from app.cli.main import run

if __name__ == "__main__":
    run()
