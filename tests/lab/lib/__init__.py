# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab library: namespaces, real daemons, traffic, captures. Read topo.py first."""
