"""What is known to fail, and why: a failure that is listed here is a skip with its reason."""
import re

# Whose test, a pattern that its title matches, and the reason.
EXPECTED = []


def reason_of(client, title):
    """Why a failure was to be expected; None if it was not."""
    return next((why for whose, pattern, why in EXPECTED if whose == client and re.search(pattern, title)), None)
