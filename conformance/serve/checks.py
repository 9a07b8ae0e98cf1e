"""Checks by name: each is a function, and says by how it ends what came of it."""
import sys
import urllib.error

CHECKS = []


class Skip(Exception):
    """A check that cannot be made, with the reason."""


def check(client, title):
    """Notes a function as the check of whose client, and of what."""

    def note(function):
        CHECKS.append((client, title, function))
        return function

    return note


def outcome_of(client, title, run, width=12):
    """Runs a check, prints its line, and gives `pass`, `skip` or `FAIL`."""
    outcome, why = "pass", ""
    try:
        run()
    except Skip as skip:
        outcome, why = "skip", f": {skip}"
    except Exception as error:  # noqa: BLE001: whatever it raises is the finding
        # What a server says of a refusal is in its body.
        said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        outcome, why = "FAIL", f": {type(error).__name__}: {f'{error} {said}'[:400]!r}"
    print(f"{outcome}  {client:{width}} {title}{why}", flush=True)
    return outcome


def run_all():
    """Runs all that were noted, and ends the program: with 1 if one failed."""
    sys.exit("FAIL" in [outcome_of(*noted) for noted in CHECKS])
