"""A load generator in its own processes: what does a node do when so many ask so much?

    python -m bench.load --help

Guarantees: with a rate, calls arrive at random at moments that were fixed before (Poisson, open loop), and a latency
counts from the intended moment, however late the call was sent: a node that stalls is not asked less for it. Count of
processes, connections and calls under way, time, and memory of the histograms are bounded. Does not: verify answers,
retry, or call another machine unless told so.
"""
