//! What operator and sandbox agree on.
