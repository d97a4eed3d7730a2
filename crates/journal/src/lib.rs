//! The journal: runs, steps and the append-only store behind them.
