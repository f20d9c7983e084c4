"""Tests and benchmarks. What they start serves this machine alone, without credentials; tests of credentials switch them on again."""

import os

from deploy.run.deployables import PRIVATE

os.environ.update(PRIVATE)
