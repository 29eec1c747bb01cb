//! What the machine says of its memory: totals, cgroups, pressure; and sizes as people write them.
