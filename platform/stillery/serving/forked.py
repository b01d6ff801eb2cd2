"""Imported by the server that engines are forked from: an engine ends with the server, which ends with its replica."""

import os

from stillery.sandbox.isolation import die_with_parent

os.register_at_fork(after_in_child=die_with_parent)
