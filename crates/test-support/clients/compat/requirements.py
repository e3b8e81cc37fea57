"""What an installed package needs, one requirement a line.

Usage: requirements.py PACKAGE [LEFT_OUT...]
"""

import importlib.metadata
import re
import sys

package, *left_out = sys.argv[1:]
for requirement in importlib.metadata.requires(package):
    name = re.match(r"[\w.-]+", requirement).group()
    if "extra ==" not in requirement and name not in left_out:
        print(requirement)
