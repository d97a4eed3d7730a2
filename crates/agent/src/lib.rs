//! Agent definitions and the built-in agents, research first.
