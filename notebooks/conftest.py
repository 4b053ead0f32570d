"""Progress bars are written to stderr and differ between any two runs: nbval leaves them out."""


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
