"""`python -m cardserver`: the same as the console command."""

from cardserver.cli import app

app()
