//! clone3 and pidfds.
