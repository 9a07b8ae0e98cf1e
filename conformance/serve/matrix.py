"""A pytest plugin that writes each test as a line of the matrix: `pass|FAIL|skip`, whose it is, what it is, and why.

    pytest -p matrix --lines FILE --client NAME ..
"""


def pytest_addoption(parser):
    parser.addoption("--lines", required=True, help="where the lines go")
    parser.addoption("--client", required=True, help="whose tests these are")


def pytest_configure(config):
    config.pluginmanager.register(Lines(config.getoption("lines"), config.getoption("client")))


class Lines:
    """The outcomes, each once."""

    def __init__(self, path, client):
        self.path, self.client, self.told = path, client, set()
        open(path, "w").close()

    def tell(self, outcome, nodeid, why=""):
        title = nodeid.split("/")[-1].replace(".py::", ": ", 1).replace("::", " ").replace("\n", " ")
        if nodeid not in self.told:
            self.told.add(nodeid)
            with open(self.path, "a") as out:
                out.write(f"{outcome}  {self.client}  {title}{why and f': {why}'}\n")

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
            self.tell("skip", report.nodeid, reason.removeprefix("Skipped: "))
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.tell("FAIL", report.nodeid, " ".join((crash.message if crash else str(report.longrepr)).split())[:400])
        elif report.when == "call":
            self.tell("pass", report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.tell("FAIL", report.nodeid, " ".join(str(report.longrepr).split())[-400:])
