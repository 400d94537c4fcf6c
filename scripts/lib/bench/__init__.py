"""The parts of scripts/bench.

  host.py       a test host, and commands that are timed in it
  timed.py      runs in the host: times one command without what it takes to get there
  discard.py    runs in the host: a page server that throws everything away
  ticks.py      the container's counter, seen from outside
  sampler.py    memory and disk while a command runs
  stats.py      CRIU's statistics
  container.py  containers of memhog.py, made by runc and by podman
  peers.py      the tools that are compared: how each exports and imports
  reference.py  what CRIU, zstd and SHA-256 alone take
  bars.py       medians, ratios, and what ckpt must reach
  report.py     tables
"""
